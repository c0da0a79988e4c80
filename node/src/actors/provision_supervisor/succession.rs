//! Starts the successor of an engine that serves well and is to be replaced, before that one leaves.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, Job, State};
use weir_core::ids::{EngineId, ServiceName};
use weir_core::provision::{EndReason, Observation, Places, Succession};

use super::engines::{Engine, REPLACEMENT_LIMIT, is_leaving};
use super::messages::Look;
use super::reservations::Room;
use super::settle::tell_looked;
use super::{Parts, Plan, ProvisionSupervisor, Wish, room, told, wishes};

/// Between two looks whether the successor is there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A successor that is on its way.
#[derive(Debug)]
pub(super) struct Successor {
    /// Why it is wanted.
    reason: EndReason,
    /// As what it is wanted.
    wanted: String,
    cancel: Option<oneshot::Sender<()>>,
    task: AbortHandle,
}

impl Drop for Successor {
    fn drop(&mut self) {
        // One that was told has to cancel its job.
        if self.cancel.is_some() {
            self.task.abort();
        }
    }
}

impl Successor {
    /// Whether it is still wanted for an engine that is to be renewed as `wanted`, if it is. One for an engine that is
    /// used up, or is to move, may be anything.
    pub(super) fn is_wanted(&self, wanted: Option<&str>) -> bool {
        self.reason != EndReason::Outdated || wanted == Some(&self.wanted)
    }

    /// Nobody waits for it any more.
    pub(super) fn is_not_wanted(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            // Who does not listen has come to an end.
            let _ = cancel.send(());
        }
    }
}

/// Why there is no successor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuccessor {
    /// None got ready.
    #[error("{0}")]
    Failed(String),
    /// Nobody began to start one.
    #[error("nobody began it within {REPLACEMENT_LIMIT:?}")]
    NotBegun,
    /// Nobody knows.
    #[error("the store: {0}")]
    Away(String),
    /// The configuration is another one by now.
    #[error("none is wanted any more")]
    NotWanted,
}

impl From<Error> for NoSuccessor {
    fn from(error: Error) -> Self {
        Self::Away(error.to_string())
    }
}

/// An engine to be succeeded.
struct Old {
    id: String,
    service: ServiceName,
    reason: EndReason,
    /// Behind which it is.
    vpn: Option<String>,
    forwarded: bool,
    engines_max: usize,
    /// One more engine, unless the job is there already.
    wish: Wish,
}

impl Old {
    fn of(engine: &Engine, reason: EndReason, plan: &Plan) -> Self {
        let (id, fence, service) = (
            engine.id(),
            engine.running.fence,
            engine.plan.service.clone(),
        );
        let (key, why) = match reason {
            // Another configuration is another wish.
            EndReason::Outdated => (
                format!("outdated:{id}:{fence}:{}", engine.wanted(plan)),
                "outdated",
            ),
            EndReason::Rebalanced => (
                format!("rebalance:{id}:{fence}"),
                "to be behind another VPN",
            ),
            _ => (format!("recycle:{id}:{fence}"), "used up"),
        };
        Self {
            vpn: engine.lot.vpn.clone(),
            forwarded: engine.lot.is_forwarded,
            engines_max: engine.plan.settings.scale.max as usize,
            wish: Wish {
                service: service.clone(),
                key,
                reason: format!("engine `{id}` is {why}"),
                engines_wanted: None,
                trace: None,
            },
            id,
            service,
            reason,
        }
    }
}

impl ProvisionSupervisor {
    /// Replaces an engine whose turn it is.
    pub(super) fn succeed(&mut self, id: &str, reason: EndReason, now: Instant) {
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        engine.waits = None;
        let may_wait = reason.leaves_it_serving();
        if may_wait && engine.succession.is_some() {
            return;
        }
        match may_wait && self.room_of(id, now) == Ok(Room::Now) {
            true => self.start_successor(id, reason),
            false => self.end_first(id, reason, now),
        }
    }

    fn room_of(&self, id: &str, now: Instant) -> Result<Room, String> {
        let engine = self.engines.get(id);
        engine.map_or_else(|| Err(String::new()), |engine| self.room_for(engine, now))
    }

    fn start_successor(&mut self, id: &str, reason: EndReason) {
        let parts = self.parts.clone();
        let Some(engine) = self.engines.get_mut(id) else {
            return;
        };
        let (old, fence) = (Old::of(engine, reason, &self.plan), engine.running.fence);
        let (cancel, is_cancelled) = oneshot::channel();
        let task = tokio::task::spawn_local(async move {
            let result = succeeded(&parts, &old, is_cancelled).await;
            let engine = old.id;
            let look = Look::Succeeded {
                engine,
                fence,
                result,
            };
            tell_looked(&parts.links, look).await;
        });
        engine.succession = Some(Successor {
            reason,
            wanted: engine.wanted(&self.plan),
            cancel: Some(cancel),
            task: task.abort_handle(),
        });
    }

    /// An engine leaves, and whoever takes its place comes afterwards. One that serves well stays while nobody could
    /// come; of outdated ones of a service only one at a time leaves in the whole mesh.
    fn end_first(&mut self, id: &str, reason: EndReason, now: Instant) {
        if reason.leaves_it_serving()
            && let Err(why) = self.room_of(id, now)
        {
            if let Some(engine) = self.engines.get_mut(id) {
                engine.waits = Some((reason, why));
            }
            return self.withdraw(id);
        }
        let Some(engine) = self.engines.get(id) else {
            return;
        };
        if reason == EndReason::Outdated {
            let plan = engine.plan.clone();
            if !self.may_end_first(&plan.service, now) {
                return self.withdraw(id);
            }
            self.renewed_in_place(&plan, now);
        }
        self.let_leave(id, reason, now);
    }

    /// An engine leaves if what it was to leave for is still so; if not, it is the next one's turn.
    fn let_leave(&mut self, id: &str, reason: EndReason, now: Instant) {
        self.observe(id, granted(reason), now);
        let engine = self.engines.get(id);
        if engine.is_some_and(|engine| !is_leaving(engine.care.state())) {
            self.withdraw(id);
        }
    }

    /// An engine is not replaced now, and the next one need not wait for it.
    fn withdraw(&mut self, id: &str) {
        let service = self
            .engines
            .get(id)
            .map(|engine| engine.plan.service.clone());
        let turns = service.and_then(|service| self.engines.replacements.get_mut(&service));
        if let Some(turns) = turns {
            turns.withdrawn(&EngineId::from(id));
        }
    }

    /// The successor of an engine is there, or will not come: then the engine stays, and it is tried again later.
    pub(super) fn has_successor(
        &mut self,
        id: &str,
        fence: u64,
        result: Result<Succession, NoSuccessor>,
        now: Instant,
    ) {
        let engine = self.engines.get_mut(id);
        let Some(engine) = engine.filter(|engine| engine.running.fence == fence) else {
            return;
        };
        let reason = engine.succession.take().map(|one| one.reason);
        let reason = reason.unwrap_or(EndReason::Recycled);
        let plan = engine.plan.clone();
        let why = match result {
            Ok(Succession::SuccessorFirst) => return self.let_leave(id, reason, now),
            Ok(Succession::EndFirst) => return self.end_first(id, reason, now),
            Err(why) => why,
        };
        tracing::warn!(engine = id, %why, "an engine has no successor and stays");
        if let Some(turns) = self.engines.replacements.get_mut(&plan.service) {
            match why {
                NoSuccessor::NotWanted => turns.withdrawn(&EngineId::from(id)),
                _ => drop(turns.ended(&EngineId::from(id), now.into_std())),
            }
        }
        if let (NoSuccessor::Failed(why), EndReason::Outdated) = (&why, reason) {
            self.start_failed(&plan, why);
        }
    }
}

/// What lets an engine go that is replaced for this reason.
const fn granted(reason: EndReason) -> Observation {
    match reason {
        EndReason::Rebalanced => Observation::Moved,
        _ => Observation::ReplacementGranted,
    }
}

/// Whether the successor is what it was started for: for another VPN it has to be behind another one. One that is not
/// is one too many, and is stopped as such.
fn suits(parts: &Parts, old: &Old, successor: &str) -> Result<(), NoSuccessor> {
    if old.reason != EndReason::Rebalanced {
        return Ok(());
    }
    let picture = parts.outlet.picture.load();
    let own = picture.engines.iter().find(|own| own.id == successor);
    let in_force = parts.in_force.load();
    let registered = in_force.config.given().endpoints.get(&old.service);
    let others = registered.into_iter().flatten();
    let mut others = others.filter(|(id, _)| id.as_str() == successor);
    let vpn = match own {
        Some(own) => own.vpn.clone(),
        None => others.find_map(|(_, backend)| backend.engine.as_ref()?.vpn.clone()),
    };
    match vpn.is_some() && vpn != old.vpn {
        true => Ok(()),
        false => Err(NoSuccessor::Failed(format!(
            "`{successor}`, which is behind {vpn:?}, evens nothing out"
        ))),
    }
}

/// Waits until the engine may be drained.
async fn succeeded(
    parts: &Parts,
    old: &Old,
    is_cancelled: oneshot::Receiver<()>,
) -> Result<Succession, NoSuccessor> {
    let open = room::open_jobs(&parts.queue, old.service.as_str()).await?;
    let is_mine = |key: &str| key == old.wish.key;
    let others = open.iter().filter(|job| !is_mine(&job.idempotency_key));
    let in_force = parts.in_force.load();
    let there = room::there(&old.service, &parts.outlet.picture.load(), &in_force.config);
    let places = Places {
        engines: there + others.count(),
        engines_max: old.engines_max,
    };
    if Succession::of(old.reason, old.forwarded, places) == Succession::EndFirst {
        return Ok(Succession::EndFirst);
    }
    let (limits, telling) = (&in_force.config.provision, (&parts.events, &parts.tracer));
    let job = wishes::enqueue(&parts.queue, old.wish.clone(), limits, telling).await;
    let job = job.inspect_err(|error| {
        if matches!(error, Error::Full { .. }) {
            told::queue_is_full(&parts.events, &old.service, (error, limits));
        }
    })?;
    let outcome = tokio::select! {
        biased;
        Ok(()) = is_cancelled => Err(NoSuccessor::NotWanted),
        outcome = until_done(parts, old, &job) => outcome,
    };
    if outcome.is_err() {
        cancel(parts, &job).await;
    }
    outcome.map(|()| Succession::SuccessorFirst)
}

/// Cancels a job that is open; a dead one stays for people to look at. One that comes all the same is one too many, and
/// is stopped as such.
async fn cancel(parts: &Parts, job: &str) {
    let known = parts.queue.get(DEFAULT_QUEUE, job).await;
    if known.is_ok_and(|job| is_open(&job)) {
        let _ = parts.queue.cancel(DEFAULT_QUEUE, job).await;
    }
}

fn is_open(job: &Job) -> bool {
    matches!(job.state(), State::Ready | State::Waiting | State::Claimed)
}

/// Waits until the job's engine is there.
async fn until_done(parts: &Parts, old: &Old, job: &str) -> Result<(), NoSuccessor> {
    let deadline = Instant::now() + REPLACEMENT_LIMIT;
    loop {
        sleep(LOOK_INTERVAL).await;
        let known = parts.queue.get(DEFAULT_QUEUE, job).await;
        let is_late = Instant::now() >= deadline;
        match known {
            Ok(job) if job.state() == State::Done && !job.result.is_empty() => {
                return suits(parts, old, &job.result);
            }
            // An attempt has limits of its own.
            Ok(job) if job.state() == State::Claimed => {}
            Ok(job) if is_open(&job) && is_late => {
                return Err(match job.last_error.is_empty() {
                    true => NoSuccessor::NotBegun,
                    false => {
                        let why = format!("none within {REPLACEMENT_LIMIT:?}: {}", job.last_error);
                        NoSuccessor::Failed(why)
                    }
                });
            }
            Ok(job) if is_open(&job) => {}
            Ok(job) => {
                let why = format!("{:?}: {}", job.state(), job.last_error);
                return Err(NoSuccessor::Failed(why));
            }
            Err(error) if is_late => return Err(error.into()),
            Err(_) => {}
        }
    }
}
