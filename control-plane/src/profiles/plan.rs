//! What a put would write: decided from what is there, without a store.

use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1::PutProfileRequest;

use super::error::{Lost, PutError};
use super::judge::{NodeDifference, NodeFacts, judge};
use super::record::{Head, Revision};
use super::request::{Wanted, check_room};
use super::settings::{Difference, differences};
use super::stack::Stack;
use crate::governance::audit::Actor;
use crate::problem::refused;
use crate::store::limits::VALUE_BYTES_MAX;

/// Most problems that are told of one request.
const PROBLEMS_MAX: usize = 1_000;

/// What a put did, or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct PutOutcome {
    /// What the scope has now; [`Revision::none`] if it has nothing and nothing was asked for.
    pub revision: Revision,
    /// False when it is what there was: nothing was written.
    pub changed: bool,
    /// What it sets otherwise than the revision before.
    pub changes: Vec<Difference>,
    /// What nodes get otherwise.
    pub nodes: Vec<NodeDifference>,
}

/// A request among what is known when it is decided.
pub(super) struct Plan<'a> {
    pub(super) request: &'a PutProfileRequest,
    pub(super) wanted: &'a Wanted,
    /// What is wrong with the request's fields alone.
    pub(super) problems: &'a [Problem],
    pub(super) has_scope: bool,
    pub(super) actor: &'a Actor,
    pub(super) now_unix_ms: u64,
    pub(super) nodes: &'a [NodeFacts],
    /// All profiles; the scope's own is the newest one.
    pub(super) stack: &'a Stack,
    /// The revision to roll back to, if there is one and it is kept.
    pub(super) restored: Option<&'a Revision>,
    /// Which ones are kept, if it is none of them.
    pub(super) kept: String,
}

impl Plan<'_> {
    /// The outcome of writing over `seen`, the newest revision.
    pub(super) fn decide(&self, seen: &Revision) -> Result<PutOutcome, PutError> {
        let mut problems = self.problems.to_vec();
        let restored = self.restored.ok_or(self.kept.as_str());
        let draft = self.wanted.draft(seen, restored, self.now_unix_ms);
        let draft = draft.map_err(|found| problems.extend(found)).ok();
        if problems.is_empty() && seen.revision != self.request.expected_revision {
            return Err(self.beaten_by(seen).into());
        }
        if let Some(draft) = draft.filter(|_| self.has_scope) {
            if problems.is_empty() && is_same(seen, &draft, self.now_unix_ms) {
                return Ok(unchanged(seen));
            }
            let outcome = self.follow(seen, self.signed(draft), &mut problems);
            if problems.is_empty() {
                return Ok(outcome);
            }
        }
        problems.truncate(PROBLEMS_MAX);
        Err(PutError::Problems(problems))
    }

    /// The outcome of the write that made `made` over `seen`, told once more. `seen` is `None` if it is not kept.
    pub(super) fn repeat(
        &self,
        seen: Option<&Revision>,
        made: Revision,
    ) -> Result<PutOutcome, PutError> {
        let Some(seen) = seen else {
            return Ok(PutOutcome {
                changed: true,
                ..unchanged(&made)
            });
        };
        let draft = self
            .wanted
            .draft(seen, self.restored.ok_or(""), made.written_at_unix_ms);
        let is_same_write = draft.is_ok_and(|draft| {
            draft.hash() == made.hash() && draft.until_unix_ms == made.until_unix_ms
        });
        if !self.problems.is_empty() || !is_same_write {
            let message = format!("named another write: revision {}", made.revision);
            let (value, bound) = (&self.request.write_id, "another one for each write");
            let problem = refused("write_id", Code::Conflict, &message, value, bound);
            return Err(PutError::Problems(vec![problem]));
        }
        // That the layers allow it was judged when it was made.
        Ok(self.follow(seen, made, &mut Vec::new()))
    }

    fn beaten_by(&self, seen: &Revision) -> Lost {
        Lost {
            scope: seen.scope.clone(),
            expected: self.request.expected_revision,
            winner: (seen.revision > 0).then(|| Box::new(seen.clone())),
        }
    }

    fn signed(&self, draft: Revision) -> Revision {
        Revision {
            revision: self.request.expected_revision.saturating_add(1),
            author: self.actor.author.clone(),
            message: self.request.message.clone(),
            written_at_unix_ms: self.now_unix_ms,
            write_id: self.request.write_id.clone(),
            ..draft
        }
    }

    /// What follows when `seen` becomes `next`.
    fn follow(&self, seen: &Revision, next: Revision, problems: &mut Vec<Problem>) -> PutOutcome {
        let bytes = next.write().len();
        if bytes > VALUE_BYTES_MAX {
            let bound = format!("at most {VALUE_BYTES_MAX} bytes");
            let (message, value) = ("is too large with what it had", format!("{bytes} bytes"));
            problems.push(refused("profile", Code::Range, message, value, bound));
        }
        problems.extend(check_room(self.stack, &next.scope));
        let (before, after) = (self.with(seen, u64::MAX), self.with(&next, 0));
        let verdict = judge(&before, &after, &next.scope, self.nodes);
        problems.extend(verdict.problems);
        PutOutcome {
            changes: differences(&seen.settings.texts(), &next.settings.texts()),
            revision: next,
            changed: true,
            nodes: verdict.nodes,
        }
    }

    /// All profiles, with this one for its scope.
    fn with(&self, revision: &Revision, id: u64) -> Stack {
        let mut stack = self.stack.clone();
        stack.remove(&revision.scope);
        if revision.revision > 0 {
            stack.put(Head {
                revision: revision.clone(),
                mod_revision: 0,
                id,
            });
        }
        stack
    }
}

fn unchanged(seen: &Revision) -> PutOutcome {
    PutOutcome {
        revision: seen.clone(),
        changed: false,
        changes: Vec::new(),
        nodes: Vec::new(),
    }
}

/// Whether writing `draft` over `seen` would change nothing.
fn is_same(seen: &Revision, draft: &Revision, now_unix_ms: u64) -> bool {
    if draft.scope.is_override() {
        // One that holds goes on for longer; only what holds nothing stays what it is.
        let holds = !seen.settings.is_empty() && !seen.has_ended(now_unix_ms);
        return draft.settings.is_empty() && !holds;
    }
    seen.settings == draft.settings && seen.group == draft.group
}
