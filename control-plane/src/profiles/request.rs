//! What a request to write a profile asks for, and whether it may.

use weir_core::tuning::{Code, Edit, PRESETS, Preset, Problem, SCOPE_BOUND, Scope, preset};
use weir_proto::control::v1::{GroupSelector, PutProfileRequest};

use super::fields::{LABELS_MAX, TTL_BOUND, check_group, check_message, check_ttl, check_write_id};
use super::record::{Revision, Selector};
use super::settings::Settings;
use super::stack::Stack;
use crate::problem::refused;

/// Most scopes with a profile.
pub const SCOPES_MAX: usize = 1_000;
/// Most groups among them.
pub const GROUPS_MAX: usize = 64;
/// What a new revision begins from.
#[derive(Clone, Copy, Debug)]
enum Begin {
    Seen,
    Nothing,
    Preset(&'static Preset),
    Revision(u64),
}

/// What a request wants, as far as it could be understood.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Of a scope that is none, the fleet; then there is a problem.
    pub(super) scope: Scope,
    begin: Begin,
    edits: Vec<Edit>,
    group: Option<GroupSelector>,
    ttl_ms: u64,
}

/// A request that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) wanted: Wanted,
    /// What is wrong with its fields.
    pub(super) problems: Vec<Problem>,
    /// Whether it names a scope, so that more can be said of it.
    pub(super) has_scope: bool,
}

/// Reads a request.
pub(super) fn read(request: &PutProfileRequest) -> Read {
    let mut problems = Vec::new();
    let scope: Option<Scope> = request.scope.parse().ok();
    match &scope {
        None => {
            let (message, value) = ("is no scope", &request.scope);
            problems.push(refused("scope", Code::Type, message, value, SCOPE_BOUND));
        }
        Some(scope) => {
            check_group(scope, request.group.as_ref(), &mut problems);
            check_ttl(scope, request.ttl_ms, &mut problems);
        }
    }
    problems.extend(check_message(&request.message));
    if !request.dry_run || !request.write_id.is_empty() {
        problems.extend(check_write_id(&request.write_id));
    }
    let set = request.set.iter();
    let set = set.map(|setting| Edit::Set(setting.path.clone(), setting.value.clone()));
    let unset = request.unset.iter().cloned().map(Edit::Unset);
    Read {
        has_scope: scope.is_some(),
        wanted: Wanted {
            scope: scope.unwrap_or(Scope::Fleet),
            begin: begin(request, &mut problems),
            edits: set.chain(unset).collect(),
            group: request.group.clone(),
            ttl_ms: request.ttl_ms,
        },
        problems,
    }
}

fn begin(request: &PutProfileRequest, problems: &mut Vec<Problem>) -> Begin {
    match (&*request.preset, request.rollback_to) {
        ("", 0) if request.replace => Begin::Nothing,
        ("", 0) => Begin::Seen,
        ("", revision) => Begin::Revision(revision),
        (name, revision) => {
            if revision != 0 {
                let value = revision.to_string();
                let message = "is asked for together with a preset";
                problems.push(Problem::new("rollback_to", Code::Conflict, message, value));
            }
            match preset(name) {
                Some(preset) => Begin::Preset(preset),
                None => {
                    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
                    let bound = names.join(", ");
                    let message = "is no preset";
                    problems.push(refused("preset", Code::Unknown, message, name, bound));
                    Begin::Nothing
                }
            }
        }
    }
}

impl Wanted {
    /// The revision whose content is the beginning, if another than the one seen.
    pub(super) fn rollback_to(&self) -> Option<u64> {
        match self.begin {
            Begin::Revision(revision) => Some(revision),
            Begin::Seen | Begin::Nothing | Begin::Preset(_) => None,
        }
    }

    /// What the request makes of the revision seen, still without who writes it and its number.
    ///
    /// `restored` is the revision of [`Self::rollback_to`], or which ones are kept.
    ///
    /// # Errors
    /// Every problem.
    pub(super) fn draft(
        &self,
        seen: &Revision,
        restored: Result<&Revision, &str>,
        now_unix_ms: u64,
    ) -> Result<Revision, Vec<Problem>> {
        let mut problems = Vec::new();
        let begin = match self.begin {
            Begin::Nothing => Settings::default(),
            Begin::Preset(preset) => Settings::known(preset.profile()),
            // What ended is not what holds.
            Begin::Seen if seen.has_ended(now_unix_ms) => Settings::default(),
            Begin::Seen => seen.settings.clone(),
            Begin::Revision(revision) => restored.map_or_else(
                |kept| {
                    let message = "is no revision of this scope that is kept";
                    let value = revision.to_string();
                    let problem = Problem::new("rollback_to", Code::Unknown, message, value);
                    problems.push(problem.bounded(kept));
                    Settings::default()
                },
                |restored| restored.settings.clone(),
            ),
        };
        let settings = begin.edited(&self.edits).unwrap_or_else(|found| {
            problems.extend(found);
            begin.clone()
        });
        let group = self.selector(seen, restored.ok(), &mut problems);
        let until_unix_ms = self.until(&settings, now_unix_ms, &mut problems);
        let draft = Revision {
            settings,
            group,
            until_unix_ms,
            rollback_of: self.rollback_to().unwrap_or(0),
            ..Revision::none(self.scope.clone())
        };
        match problems.is_empty() {
            true => Ok(draft),
            false => Err(problems),
        }
    }

    fn selector(
        &self,
        seen: &Revision,
        restored: Option<&Revision>,
        problems: &mut Vec<Problem>,
    ) -> Option<Selector> {
        if !matches!(self.scope, Scope::Group(_)) {
            return None;
        }
        let before = restored.unwrap_or(seen).group.clone().unwrap_or_default();
        let selector = match &self.group {
            None => before,
            Some(group) => Selector {
                priority: group.priority,
                labels: match group.labels.is_empty() {
                    true => before.labels,
                    false => group.labels.clone(),
                },
            },
        };
        if selector.labels.is_empty() {
            let message = "are missing: a group without them would have every node";
            let bound = format!("1 to {LABELS_MAX} labels");
            problems.push(refused("group.labels", Code::Range, message, "", bound));
        }
        Some(selector)
    }

    fn until(&self, settings: &Settings, now_unix_ms: u64, problems: &mut Vec<Problem>) -> u64 {
        // One that sets nothing holds for no time: so an override is ended early.
        if !self.scope.is_override() || settings.is_empty() {
            return 0;
        }
        if self.ttl_ms == 0 {
            let message = "is missing: an override ends by itself";
            problems.push(refused("ttl_ms", Code::Range, message, "", TTL_BOUND));
        }
        now_unix_ms.saturating_add(self.ttl_ms)
    }
}

/// What stands against one more scope.
pub(super) fn check_room(stack: &Stack, scope: &Scope) -> Vec<Problem> {
    let mut problems = Vec::new();
    if stack.head(scope).is_some() {
        return problems;
    }
    let mut check = |found: usize, most: usize, message: &str| {
        if found >= most {
            let bound = format!("at most {most}");
            problems.push(refused("scope", Code::Range, message, scope, bound));
        }
    };
    check(stack.heads().count(), SCOPES_MAX, "is one scope too many");
    if matches!(scope, Scope::Group(_)) {
        check(stack.groups_len(), GROUPS_MAX, "is one group too many");
    }
    problems
}
