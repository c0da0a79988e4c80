//! Writes a scope's profile: once, and only over what its writer saw.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use weir_proto::control::v1::PutProfileRequest;

use super::ProfileStore;
use super::error::{PutError, ReadError};
use super::get::read;
use super::judge::NodeFacts;
use super::plan::{Plan, PutOutcome};
use super::record::Revision;
use super::request::{self, Read};
use super::view::ProfileView;
use crate::governance::audit::{self, Actor, Change};
use crate::records::FORMAT;
use crate::store::{self, Compare, Op, OpResult, Txn};

/// No attempt begins later than this after the first.
pub const PUT_LIMIT: Duration = Duration::from_secs(5);
/// How long a writer waits for the view to show what it wrote, so that it reads its own write.
const SHOWN_LIMIT: Duration = Duration::from_secs(1);
/// How long it waits for a newer view before it looks at the store again.
const TURN: Duration = Duration::from_millis(25);
/// After a write whose answer was lost.
const PAUSE: Duration = Duration::from_millis(100);

/// What the store holds that a put needs, all of one moment.
struct Seen {
    /// The newest revision, or that of a scope without a profile.
    newest: Revision,
    head_at: u64,
    serial_at: u64,
    /// The revision that the request would make, if it is there.
    made: Option<Revision>,
}

/// What one attempt came to.
enum Step {
    Done(Box<PutOutcome>),
    /// Written at this revision of the store.
    Written(Box<PutOutcome>, u64),
    /// Another profile was written meanwhile, or the view lags.
    Again,
    /// The answer of a write was lost.
    Lost(store::Error),
}

/// One put on its way.
struct Put<'a> {
    profiles: &'a ProfileStore,
    views: watch::Receiver<Arc<ProfileView>>,
    request: &'a PutProfileRequest,
    read: Read,
    actor: &'a Actor,
    now_unix_ms: u64,
    nodes: &'a [NodeFacts],
}

impl ProfileStore {
    /// Writes one scope, as `PutProfileRequest` says it.
    ///
    /// `nodes` are those that are known: the layers of each must go together afterwards.
    ///
    /// # Errors
    /// Why it was not written; after [`PutError::Uncertain`] alone it may have been.
    pub async fn put(
        &self,
        request: &PutProfileRequest,
        actor: &Actor,
        now_unix_ms: u64,
        nodes: &[NodeFacts],
    ) -> Result<PutOutcome, PutError> {
        let put = Put {
            profiles: self,
            views: self.views.clone(),
            request,
            read: request::read(request),
            actor,
            now_unix_ms,
            nodes,
        };
        put.run().await
    }
}

impl Put<'_> {
    async fn run(mut self) -> Result<PutOutcome, PutError> {
        let until = Instant::now() + PUT_LIMIT;
        let mut lost = None;
        loop {
            let step = match self.attempt().await {
                // Once a write is out, only its trace in the store tells whether it was made.
                Err(PutError::Read(ReadError::Store(error))) if lost.is_some() => Step::Lost(error),
                step => step?,
            };
            match step {
                Step::Done(outcome) => return Ok(*outcome),
                Step::Written(outcome, at) => {
                    let shown = self.views.wait_for(|view| view.serial() >= at);
                    let _ = timeout(SHOWN_LIMIT, shown).await;
                    return Ok(*outcome);
                }
                Step::Again => self.wait_for_view().await,
                Step::Lost(error) => {
                    lost = Some(error);
                    sleep(PAUSE).await;
                }
            }
            if Instant::now() >= until {
                return Err(lost.map_or(PutError::Behind, PutError::Uncertain));
            }
        }
    }

    async fn wait_for_view(&mut self) {
        if let Ok(Err(_)) = timeout(TURN, self.views.changed()).await {
            // Nobody follows the store any more; the limit ends this.
            sleep(TURN).await;
        }
    }

    async fn attempt(&mut self) -> Result<Step, PutError> {
        let view = Arc::clone(&self.views.borrow_and_update());
        let mut seen = self.look().await?;
        let write_id = &self.request.write_id;
        let is_ours = |made: &Revision| !write_id.is_empty() && made.write_id == *write_id;
        if !self.request.dry_run
            && let Some(made) = seen.made.take().filter(is_ours)
        {
            return self.repeat(&view, made).await.map(Step::Done);
        }
        if view.serial() != seen.serial_at {
            return Ok(Step::Again);
        }
        let restored = self.restored().await?;
        let kept = match &restored {
            None if self.read.wanted.rollback_to().is_some() => self.kept().await?,
            _ => String::new(),
        };
        let plan = Plan {
            kept,
            ..self.plan(&view, restored.as_ref())
        };
        let outcome = Box::new(plan.decide(&seen.newest)?);
        if self.request.dry_run || !outcome.changed {
            return Ok(Step::Done(outcome));
        }
        match self.write(&seen, &outcome).await {
            Ok(done) if done.succeeded => Ok(Step::Written(outcome, done.revision.0)),
            Ok(_) => Ok(Step::Again),
            Err(error) if error.is_ambiguous() => Ok(Step::Lost(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the outcome of a write that was made before.
    async fn repeat(
        &self,
        view: &ProfileView,
        made: Revision,
    ) -> Result<Box<PutOutcome>, PutError> {
        let scope = &self.read.wanted.scope;
        let seen = match self.request.expected_revision {
            0 => Some(Revision::none(scope.clone())),
            expected => self.profiles.revision(scope, expected).await?,
        };
        let restored = self.restored().await?;
        let plan = self.plan(view, restored.as_ref());
        plan.repeat(seen.as_ref(), made).map(Box::new)
    }

    async fn restored(&self) -> Result<Option<Revision>, ReadError> {
        match self.read.wanted.rollback_to() {
            None => Ok(None),
            Some(revision) => {
                let scope = &self.read.wanted.scope;
                self.profiles.revision(scope, revision).await
            }
        }
    }

    /// Which revisions there are to roll back to.
    async fn kept(&self) -> Result<String, ReadError> {
        let scope = &self.read.wanted.scope;
        let kept = self.profiles.history(scope, usize::MAX).await?;
        Ok(match kept.as_slice() {
            [] => "none of this scope".to_owned(),
            [only] => only.revision.to_string(),
            [newest, .., oldest] => format!("{} to {}", oldest.revision, newest.revision),
        })
    }

    fn plan<'a>(&'a self, view: &'a ProfileView, restored: Option<&'a Revision>) -> Plan<'a> {
        Plan {
            request: self.request,
            wanted: &self.read.wanted,
            problems: &self.read.problems,
            has_scope: self.read.has_scope,
            actor: self.actor,
            now_unix_ms: self.now_unix_ms,
            nodes: self.nodes,
            stack: &view.stack,
            restored,
            kept: String::new(),
        }
    }

    async fn look(&self) -> Result<Seen, ReadError> {
        let (keys, scope) = (&self.profiles.keys, &self.read.wanted.scope);
        let made = self.request.expected_revision.saturating_add(1);
        let gets = [
            keys.profile_head(scope),
            keys.profile_serial(),
            keys.profile_revision(scope, made),
        ];
        let txn = Txn {
            then: gets.into_iter().map(Op::Get).collect(),
            ..Txn::default()
        };
        let mut results = self.profiles.store.txn(txn).await?.results.into_iter();
        let mut next = || match results.next() {
            Some(OpResult::Got(entry)) => entry,
            _ => None,
        };
        let (head, serial, made) = (next(), next(), next());
        Ok(Seen {
            head_at: head.as_ref().map_or(0, |entry| entry.mod_revision.0),
            newest: match head {
                Some(entry) => read(&entry, scope)?,
                None => Revision::none(scope.clone()),
            },
            serial_at: serial.map_or(0, |entry| entry.mod_revision.0),
            made: made.map(|entry| read(&entry, scope)).transpose()?,
        })
    }

    async fn write(
        &self,
        seen: &Seen,
        outcome: &PutOutcome,
    ) -> Result<store::TxnOutcome, store::Error> {
        let (keys, revision) = (&self.profiles.keys, &outcome.revision);
        let scope = &revision.scope;
        let value = revision.write();
        let is_at = |key, at| Compare::ModRevision(key, store::Revision(at));
        let when = vec![
            is_at(keys.profile_head(scope), seen.head_at),
            is_at(keys.profile_serial(), seen.serial_at),
        ];
        let revision_key = keys.profile_revision(scope, revision.revision);
        let then = vec![
            Op::put(keys.profile_head(scope), value.clone()),
            Op::put(revision_key, value),
            Op::put(keys.profile_serial(), vec![FORMAT].into()),
            self.audit(outcome),
        ];
        self.profiles.store.txn(Txn::only_if(when, then)).await
    }

    fn audit(&self, outcome: &PutOutcome) -> Op {
        let change = Change {
            action: "profile.put",
            target: &outcome.revision.scope.to_string(),
            message: &self.request.message,
            write_id: &self.request.write_id,
            detail: &detail(outcome),
        };
        let record = audit::record(self.actor, &change, self.now_unix_ms);
        audit::put(&self.profiles.keys, record, audit::id_of_write(&change))
    }
}

/// One line for the audit.
fn detail(outcome: &PutOutcome) -> String {
    let revision = &outcome.revision;
    let mut line = format!("revision {}", revision.revision);
    if revision.rollback_of > 0 {
        line.push_str(&format!(" restores {}", revision.rollback_of));
    }
    let paths: Vec<&str> = outcome.changes.iter().map(|change| &*change.path).collect();
    match paths.len() {
        0 => line.push_str(", no setting changed"),
        1..=DETAIL_PATHS_MAX => line.push_str(&format!(", changed {}", paths.join(", "))),
        changed => line.push_str(&format!(", changed {changed} settings")),
    }
    line
}

const DETAIL_PATHS_MAX: usize = 5;
