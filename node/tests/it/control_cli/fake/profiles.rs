//! Profiles, written as the real ones are: with core's knobs, compare-and-set and names of writes.

use prost::Message as _;
use tonic::{Code, Request, Response, Status};
use weir_core::tuning::{Change, Edit, Problem, Profile, all, apply_edits, diff, find, preset};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::profiles_server::Profiles;
use weir_proto::convert;

use super::{Fake, State, WRITTEN_UNIX_MS};

type Answer<T> = Result<Response<T>, Status>;

fn profile_of(settings: &[pb::TextSetting]) -> Result<Profile, Vec<Problem>> {
    edited(&Profile::new(), settings, &[])
}

fn edited(
    below: &Profile,
    set: &[pb::TextSetting],
    unset: &[String],
) -> Result<Profile, Vec<Problem>> {
    let set = set
        .iter()
        .map(|s| Edit::Set(s.path.clone(), s.value.clone()));
    let unset = unset.iter().map(|path| Edit::Unset(path.clone()));
    let edits: Vec<Edit> = set.chain(unset).collect();
    apply_edits(below, &edits)
}

fn settings_of(profile: &Profile) -> Vec<pb::TextSetting> {
    let setting = |(path, value): (&'static str, &weir_core::tuning::Value)| pb::TextSetting {
        path: path.to_owned(),
        value: value.to_string(),
    };
    profile.iter().map(setting).collect()
}

fn change(change: &Change) -> pb::ScopeChange {
    let written = |value: &Option<weir_core::tuning::Value>| {
        value.as_ref().map_or_else(String::new, ToString::to_string)
    };
    pb::ScopeChange {
        path: change.path.to_owned(),
        before: written(&change.before),
        after: written(&change.after),
        apply: convert::knob(find(change.path).unwrap()).apply,
    }
}

fn refused(problems: &[Problem]) -> Status {
    let told = pb::PutProblems {
        problems: problems.iter().map(convert::field_error).collect(),
    };
    let details = told.encode_to_vec().into();
    Status::with_details(Code::InvalidArgument, "the profile has problems", details)
}

impl State {
    fn head(&self, scope: &str) -> pb::ProfileRevision {
        let none = || pb::ProfileRevision {
            scope: scope.to_owned(),
            ..pb::ProfileRevision::default()
        };
        let revisions = self.profiles.get(scope);
        revisions
            .and_then(|all| all.last().cloned())
            .unwrap_or_else(none)
    }

    fn put(&mut self, put: pb::PutProfileRequest) -> Result<pb::PutProfileResponse, Status> {
        if let Some(written) = self.written.get(&put.write_id) {
            return Ok(written.clone());
        }
        let head = self.head(&put.scope);
        if put.expected_revision != head.revision {
            return Err(Status::aborted(format!(
                "{} is at revision {}, which {} wrote (\"{}\")",
                put.scope, head.revision, head.author, head.message
            )));
        }
        let before = profile_of(&head.settings).unwrap();
        let below = match (put.rollback_to, put.preset.as_str(), put.replace) {
            (0, "", true) => Profile::new(),
            (0, "", false) => before.clone(),
            (0, name, _) => preset(name).unwrap().profile(),
            (revision, ..) => {
                let at = usize::try_from(revision).unwrap() - 1;
                let all = self.profiles.get(&put.scope);
                let old = all.and_then(|all| all.get(at)).ok_or_else(|| {
                    Status::not_found(format!("{} has no revision {revision}", put.scope))
                })?;
                profile_of(&old.settings).unwrap()
            }
        };
        let after = edited(&below, &put.set, &put.unset).map_err(|p| refused(&p))?;
        let changes: Vec<_> = diff(&before, &after).iter().map(change).collect();
        Ok(self.keep(put, &head, &after, changes))
    }

    fn keep(
        &mut self,
        put: pb::PutProfileRequest,
        head: &pb::ProfileRevision,
        after: &Profile,
        changes: Vec<pb::ScopeChange>,
    ) -> pb::PutProfileResponse {
        let changed = !changes.is_empty();
        let profile = match changed {
            false => head.clone(),
            true => pb::ProfileRevision {
                revision: head.revision + 1,
                settings: settings_of(after),
                author: put.author,
                message: put.message,
                written_at_unix_ms: WRITTEN_UNIX_MS,
                rollback_of: put.rollback_to,
                group: put.group.or_else(|| head.group.clone()),
                until_unix_ms: match put.ttl_ms {
                    0 => 0,
                    ttl_ms => WRITTEN_UNIX_MS + ttl_ms,
                },
                hash: vec![1; 16],
                ..head.clone()
            },
        };
        let ids: Vec<String> = self.nodes.iter().map(|node| node.node_id.clone()).collect();
        let everywhere = pb::NodeDiff {
            nodes: ids.len().try_into().unwrap(),
            node_ids: ids,
            changes: changes.clone(),
        };
        let answer = pb::PutProfileResponse {
            profile: Some(profile.clone()),
            changed,
            nodes: changed.then_some(everywhere).into_iter().collect(),
            changes,
        };
        if !put.dry_run && changed {
            self.offer(&profile.settings);
            self.profiles.entry(put.scope).or_default().push(profile);
            self.written.insert(put.write_id, answer.clone());
        }
        answer
    }
}

#[tonic::async_trait]
impl Profiles for Fake {
    async fn list_knobs(&self, _: Request<pb::ListKnobsRequest>) -> Answer<pb::ListKnobsResponse> {
        let knobs = all().map(convert::knob).collect();
        Ok(Response::new(pb::ListKnobsResponse { knobs }))
    }

    async fn list_presets(
        &self,
        _: Request<pb::ListPresetsRequest>,
    ) -> Answer<pb::ListPresetsResponse> {
        Ok(Response::new(pb::ListPresetsResponse::default()))
    }

    async fn list_profiles(
        &self,
        request: Request<pb::ListProfilesRequest>,
    ) -> Answer<pb::ListProfilesResponse> {
        let state = self.allow(&request, false).await?;
        let heads = state
            .profiles
            .values()
            .filter_map(|all| all.last().cloned());
        Ok(Response::new(pb::ListProfilesResponse {
            profiles: heads.collect(),
        }))
    }

    async fn get_profile(
        &self,
        request: Request<pb::GetProfileRequest>,
    ) -> Answer<pb::ProfileRevision> {
        let state = self.allow(&request, false).await?;
        let get = request.into_inner();
        let revisions = state.profiles.get(&get.scope);
        match get.revision {
            0 => Ok(Response::new(state.head(&get.scope))),
            number => revisions
                .and_then(|all| all.iter().find(|revision| revision.revision == number))
                .map(|revision| Response::new(revision.clone()))
                .ok_or_else(|| {
                    Status::not_found(format!("{} has no revision {number}", get.scope))
                }),
        }
    }

    async fn put_profile(
        &self,
        request: Request<pb::PutProfileRequest>,
    ) -> Answer<pb::PutProfileResponse> {
        let mut state = self.allow(&request, true).await?;
        let answer = state.put(request.into_inner())?;
        match std::mem::take(&mut state.lose_answer) {
            true => Err(Status::unavailable("the answer is lost")),
            false => Ok(Response::new(answer)),
        }
    }

    async fn history(&self, request: Request<pb::HistoryRequest>) -> Answer<pb::HistoryResponse> {
        let state = self.allow(&request, false).await?;
        let history = request.into_inner();
        let all = state
            .profiles
            .get(&history.scope)
            .cloned()
            .unwrap_or_default();
        let entries_max = usize::try_from(history.entries_max).unwrap();
        Ok(Response::new(pb::HistoryResponse {
            revisions: all.into_iter().rev().take(entries_max).collect(),
        }))
    }

    async fn effective(
        &self,
        request: Request<pb::EffectiveRequest>,
    ) -> Answer<pb::EffectiveResponse> {
        let state = self.allow(&request, false).await?;
        let node_id = request.into_inner().node_id;
        if !state.nodes.iter().any(|node| node.node_id == node_id) {
            return Err(Status::not_found(format!("no node `{node_id}`")));
        }
        let head = state.head("fleet");
        let knobs = all().map(|knob| {
            let set = head
                .settings
                .iter()
                .find(|setting| setting.path == knob.path);
            let value = set.map_or_else(|| knob.default_value().to_string(), |s| s.value.clone());
            pb::LayeredKnob {
                knob: Some(convert::knob(knob)),
                value: value.clone(),
                scope: if set.is_some() { "fleet" } else { "defaults" }.to_owned(),
                revision: if set.is_some() { head.revision } else { 0 },
                node: Some(pb::EffectiveKnob {
                    path: knob.path.to_owned(),
                    value,
                    source: if set.is_some() { "profile" } else { "default" }.to_owned(),
                    consumer: knob.section().to_owned(),
                    ..pb::EffectiveKnob::default()
                }),
            }
        });
        Ok(Response::new(pb::EffectiveResponse {
            node_id,
            knobs: knobs.collect(),
            node_answer: String::new(),
        }))
    }

    async fn rollout(&self, request: Request<pb::RolloutRequest>) -> Answer<pb::RolloutResponse> {
        let mut state = self.allow(&request, false).await?;
        match state.rollouts_until_taken.checked_sub(1) {
            None => state.answer_all(),
            Some(left) => state.rollouts_until_taken = left,
        }
        Ok(Response::new(pb::RolloutResponse {
            nodes: state.nodes.clone(),
            ..pb::RolloutResponse::default()
        }))
    }
}
