//! Starts the successor of an engine that serves well and is to be replaced, before that one leaves.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, Job, State};
use weir_core::ids::{EngineId, ServiceName};
use weir_core::provision::{EndReason, Observation, Places, Succession};

use super::engines::{Engine, REPLACEMENT_LIMIT, Task};
use super::messages::Look;
use super::settle::tell_looked;
use super::{EnginePlan, Parts, Plan, ProvisionSupervisor, Wish, room, told, wishes};

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
    _task: Task,
}

impl Successor {
    /// Whether it is as wanted now; one for an engine that is used up may be anything.
    pub(super) fn is_as(&self, wanted: &str) -> bool {
        self.reason != EndReason::Outdated || self.wanted == wanted
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
        let may_wait = reason.leaves_it_serving();
        if may_wait && engine.succession.is_some() {
            return;
        }
        let plan = engine.plan.clone();
        if !may_wait || !self.has_room(&plan.service) {
            self.end_first(id, reason, &plan, now);
            return;
        }
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
            _task: Task(task.abort_handle()),
        });
    }

    /// An engine leaves, and whoever takes its place comes afterwards.
    fn end_first(&mut self, id: &str, reason: EndReason, plan: &EnginePlan, now: Instant) {
        if reason == EndReason::Outdated {
            self.renewed_in_place(plan, now);
        }
        self.observe(id, granted(reason), now);
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
            Ok(Succession::SuccessorFirst) => return self.observe(id, granted(reason), now),
            Ok(Succession::EndFirst) => return self.end_first(id, reason, &plan, now),
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
        // One that comes all the same is one too many, and is stopped as such.
        let _ = parts.queue.cancel(DEFAULT_QUEUE, &job).await;
    }
    outcome.map(|()| Succession::SuccessorFirst)
}

/// Waits until the job's engine is there.
async fn until_done(parts: &Parts, old: &Old, job: &str) -> Result<(), NoSuccessor> {
    let deadline = Instant::now() + REPLACEMENT_LIMIT;
    loop {
        sleep(LOOK_INTERVAL).await;
        let known = parts.queue.get(DEFAULT_QUEUE, job).await;
        let is_open =
            |job: &Job| matches!(job.state(), State::Ready | State::Waiting | State::Claimed);
        let is_late = Instant::now() >= deadline;
        match known {
            Ok(job) if job.state() == State::Done && !job.result.is_empty() => {
                return suits(parts, old, &job.result);
            }
            Ok(job) if is_open(&job) && is_late => {
                let why = format!("none within {REPLACEMENT_LIMIT:?}: {}", job.last_error);
                return Err(NoSuccessor::Failed(why));
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
