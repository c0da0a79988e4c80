//! `weir.control.v1.Profiles`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};
use weir_core::trace::{TraceContext, parent_of};
use weir_core::tuning::{Code, PRESETS, SCOPE_BOUND, Scope, all};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::profiles_server::Profiles;
use weir_proto::convert;

use super::{AskNode, KnownNodes, actor_of, entries_max, read, status, wire};
use crate::clock::NowUnixMs;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::problem::{no_name, refused};
use crate::profiles::{
    HISTORY_ENTRIES_MAX, NodeFacts, ProfileStore, ProfileView, PutOutcome, effective,
};
use crate::steps::{self, Step, Steps};

/// Revisions of a history of which nobody said how many.
pub const HISTORY_ENTRIES_DEFAULT: usize = 20;
/// Most nodes of one rollout; those that refused come first, then those that have not answered.
pub const ROLLOUT_NODES_MAX: usize = 1_000;
/// How long a node may take to tell what it has.
pub const ASK_LIMIT: Duration = Duration::from_secs(3);

/// What the service asks.
#[derive(Clone)]
pub struct ProfilesContext {
    /// Reads and writes profiles.
    pub profiles: ProfileStore,
    /// Knows nodes.
    pub nodes: Arc<dyn KnownNodes>,
    /// Asks them.
    pub ask: Arc<dyn AskNode>,
    /// Knows the time.
    pub now_unix_ms: NowUnixMs,
    /// Is told of writes.
    pub steps: Steps,
}

/// Tuning profiles.
#[derive(Clone)]
pub struct ProfilesService(ProfilesContext);

impl ProfilesContext {
    /// What changed nothing is no step of anything.
    fn tell_write(
        &self,
        (request, caller): (&pb::PutProfileRequest, Option<TraceContext>),
        outcome: &Result<PutOutcome, Status>,
        begun: Instant,
    ) {
        let changed = outcome.as_ref().map_or(true, |outcome| outcome.changed);
        let context = TraceContext::of_write(&request.write_id);
        let Some(context) = context.filter(|_| changed && !request.dry_run) else {
            return;
        };
        let mut attributes = vec![("weir.profile.scope", request.scope.clone())];
        if let Ok(outcome) = outcome {
            let revision = &outcome.revision;
            attributes.push(("weir.profile.revision", revision.revision.to_string()));
            attributes.push(("weir.profile.author", revision.author.clone()));
            let settings = outcome.changes.len().to_string();
            attributes.push(("weir.profile.settings_changed", settings));
        }
        self.steps.tell(Step {
            context,
            // Of another trace it cannot be a part: its own is its id.
            parent: caller
                .filter(|caller| caller.trace_id == context.trace_id)
                .map(|caller| caller.parent_id),
            name: steps::WRITE,
            begun,
            ended: Instant::now(),
            attributes,
            error: outcome
                .as_ref()
                .err()
                .map(|status| status.message().to_owned()),
        });
    }
}

impl std::fmt::Debug for ProfilesService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfilesService").finish_non_exhaustive()
    }
}

impl ProfilesService {
    /// On these parts.
    pub fn new(context: ProfilesContext) -> Self {
        Self(context)
    }
}

fn scope_of(text: &str) -> Result<Scope, Status> {
    text.parse().map_err(|_| {
        let problem = refused("scope", Code::Type, "is no scope", text, SCOPE_BOUND);
        status::refusal(&[problem])
    })
}

#[tonic::async_trait]
impl Profiles for ProfilesService {
    async fn list_knobs(
        &self,
        request: Request<pb::ListKnobsRequest>,
    ) -> Result<Response<pb::ListKnobsResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        let knobs = all().map(convert::knob).collect();
        Ok(Response::new(pb::ListKnobsResponse { knobs }))
    }

    async fn list_presets(
        &self,
        request: Request<pb::ListPresetsRequest>,
    ) -> Result<Response<pb::ListPresetsResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        let presets = PRESETS.iter().map(wire::preset).collect();
        Ok(Response::new(pb::ListPresetsResponse { presets }))
    }

    async fn list_profiles(
        &self,
        request: Request<pb::ListProfilesRequest>,
    ) -> Result<Response<pb::ListProfilesResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        read(self.0.nodes.is_complete())?;
        let view = self.0.profiles.view();
        let profiles = view.heads().map(|head| wire::revision(&head.revision));
        Ok(Response::new(pb::ListProfilesResponse {
            profiles: profiles.collect(),
        }))
    }

    async fn get_profile(
        &self,
        request: Request<pb::GetProfileRequest>,
    ) -> Result<Response<pb::ProfileRevision>, Status> {
        allow(&request, &Action::ReadAll)?;
        let pb::GetProfileRequest { scope, revision } = request.into_inner();
        let scope = scope_of(&scope)?;
        let found = match revision {
            0 => self.0.profiles.newest(&scope).await.map(Some),
            revision => self.0.profiles.revision(&scope, revision).await,
        };
        let found = found.map_err(|error| status::read(&error))?;
        let missing = || Status::not_found(format!("{scope} has no revision {revision}"));
        Ok(Response::new(wire::revision(&found.ok_or_else(missing)?)))
    }

    async fn put_profile(
        &self,
        request: Request<pb::PutProfileRequest>,
    ) -> Result<Response<pb::PutProfileResponse>, Status> {
        let actor = actor_of(&request, &Action::ChangeProfile, &request.get_ref().author)?;
        let nodes = self.0.nodes.facts();
        let caller = parent_of(request.metadata().as_ref());
        let (request, now) = (request.get_ref(), (self.0.now_unix_ms)());
        let begun = Instant::now();
        let put = self.0.profiles.put(request, &actor, now, &nodes);
        let outcome = put.await.map_err(|error| status::put(&error));
        self.0.tell_write((request, caller), &outcome, begun);
        let outcome = outcome?;
        Ok(Response::new(wire::outcome(outcome)))
    }

    async fn history(
        &self,
        request: Request<pb::HistoryRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        let request = request.get_ref();
        let scope = scope_of(&request.scope)?;
        let entries_max = entries_max(
            request.entries_max,
            HISTORY_ENTRIES_DEFAULT,
            HISTORY_ENTRIES_MAX,
        )?;
        let found = self.0.profiles.history(&scope, entries_max).await;
        let found = found.map_err(|error| status::read(&error))?;
        Ok(Response::new(pb::HistoryResponse {
            revisions: found.iter().map(wire::revision).collect(),
        }))
    }

    async fn effective(
        &self,
        request: Request<pb::EffectiveRequest>,
    ) -> Result<Response<pb::EffectiveResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        read(self.0.nodes.is_complete())?;
        let node_id = request.into_inner().node_id;
        let labels = self.labels_of(&node_id).await?;
        let knobs = effective(&self.0.profiles.view(), &node_id, &labels);
        let (mut told, node_answer) = self.ask(&node_id).await;
        let in_force = self.has_what_is_wanted(&node_id).await;
        let knobs = knobs.into_iter().map(|knob| {
            let node = told.remove(&knob.path);
            wire::layered(knob, node, in_force)
        });
        Ok(Response::new(pb::EffectiveResponse {
            knobs: knobs.collect(),
            node_id,
            node_answer,
        }))
    }

    async fn rollout(
        &self,
        request: Request<pb::RolloutRequest>,
    ) -> Result<Response<pb::RolloutResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        read(self.0.nodes.is_complete())?;
        let scope = match request.get_ref().scope.as_str() {
            "" => None,
            text => Some(scope_of(text)?),
        };
        let view = self.0.profiles.view();
        Ok(Response::new(rollout(
            &view,
            scope.as_ref(),
            self.0.nodes.infos().await,
        )))
    }
}

impl ProfilesService {
    /// Those of a node that is there, or was, or of which a profile speaks.
    async fn labels_of(&self, node_id: &str) -> Result<BTreeMap<String, String>, Status> {
        if let Some(problem) = no_name("node_id", "names no node", node_id) {
            return Err(status::refusal(&[problem]));
        }
        let nodes = self.0.nodes.facts();
        let known = nodes.iter().find(|node: &&NodeFacts| node.id == node_id);
        if let Some(known) = known {
            return Ok(known.labels.clone());
        }
        let view = self.0.profiles.view();
        let own = [Scope::Node, Scope::NodeOverride].map(|scope| scope(node_id.to_owned()));
        if own.iter().any(|scope| view.head(scope).is_some()) {
            return Ok(BTreeMap::new());
        }
        // One that came a moment ago may not be in the store yet.
        let infos = self.0.nodes.infos().await;
        let found = infos.into_iter().find(|info| info.node_id == node_id);
        let found = found.map(|info| info.labels);
        found.ok_or_else(|| Status::not_found(format!("no node is called `{node_id}`")))
    }

    /// Whether the node has its wanted profile in force; true when it did not say what it has.
    async fn has_what_is_wanted(&self, node_id: &str) -> bool {
        let infos = self.0.nodes.infos().await;
        let info = infos.iter().find(|info| info.node_id == node_id);
        info.is_none_or(|info| info.profile.is_none() || taken(info) == Taken::Effective)
    }

    /// What the node says by path, or why it does not.
    async fn ask(&self, node_id: &str) -> (BTreeMap<String, pb::EffectiveKnob>, String) {
        let report = match timeout(ASK_LIMIT, self.0.ask.report(node_id)).await {
            Ok(Ok(report)) => report,
            Ok(Err(why)) => return (BTreeMap::new(), why),
            Err(_) => {
                let why = format!("it did not answer within {ASK_LIMIT:?}");
                return (BTreeMap::new(), why);
            }
        };
        let knobs = report.knobs.into_iter();
        let by_path = knobs.map(|knob| (knob.path.clone(), knob)).collect();
        (by_path, String::new())
    }
}

/// How a node took what is wanted there. In the order in which people want to see them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    Rejected,
    Pending,
    Effective,
}

fn taken(info: &pb::NodeInfo) -> Taken {
    let Some(state) = &info.profile else {
        return Taken::Pending;
    };
    let is_rejected = state.last_attempt() == pb::ApplyStatus::Rejected;
    if state.effective_hash == info.wanted_hash {
        Taken::Effective
    } else if is_rejected && state.offered_hash == info.wanted_hash {
        Taken::Rejected
    } else {
        Taken::Pending
    }
}

fn rollout(
    view: &ProfileView,
    scope: Option<&Scope>,
    infos: Vec<pb::NodeInfo>,
) -> pb::RolloutResponse {
    let is_concerned = |info: &pb::NodeInfo| {
        scope.is_none_or(|scope| view.concerns(scope, &info.node_id, &info.labels))
    };
    let infos = infos.into_iter().filter(is_concerned);
    let mut nodes: Vec<(Taken, pb::NodeInfo)> = infos
        .map(|mut info| {
            let offer = view.offer_for(&info.node_id, &info.labels);
            info.wanted_hash = offer.hash.to_vec();
            (taken(&info), info)
        })
        .collect();
    let count = |of: Taken| nodes.iter().filter(|(taken, _)| *taken == of).count() as u64;
    let mut response = pb::RolloutResponse {
        nodes_total: nodes.len() as u64,
        nodes_effective: count(Taken::Effective),
        nodes_rejected: count(Taken::Rejected),
        nodes_pending: count(Taken::Pending),
        nodes: Vec::new(),
    };
    nodes.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.node_id.cmp(&b.1.node_id)));
    nodes.truncate(ROLLOUT_NODES_MAX);
    response.nodes = nodes.into_iter().map(|(_, info)| info).collect();
    response
}
