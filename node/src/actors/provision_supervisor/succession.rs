//! Starts the successor of an engine that serves well, before that one leaves: it was used as often as it may be, or is
//! to be behind another VPN.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, State};
use weir_core::ids::{EngineId, ServiceName};
use weir_core::provision::{EndReason, Observation, Places, Succession};

use super::engines::{REPLACEMENT_LIMIT, Task};
use super::messages::Look;
use super::settle::tell_looked;
use super::{Parts, ProvisionSupervisor, Wish, room, wishes};

/// Between two looks whether the successor is there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// An engine to be succeeded.
struct Old {
    id: String,
    reason: EndReason,
    vpn: Option<String>,
    service: ServiceName,
    forwarded: bool,
    engines_max: usize,
    /// One more engine, unless the job is there already.
    wish: Wish,
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
        let service = engine.plan.service.clone();
        let is_waited_for = may_wait && self.has_room(&service);
        let Some(engine) = self.engines.get_mut(id).filter(|_| is_waited_for) else {
            self.observe(id, granted(reason), now);
            return;
        };
        let fence = engine.running.fence;
        let old = Old {
            id: id.to_owned(),
            reason,
            vpn: engine.lot.vpn.clone(),
            forwarded: engine.lot.is_forwarded,
            engines_max: engine.plan.settings.scale.max as usize,
            wish: Wish {
                service: service.clone(),
                key: format!("{}:{id}:{fence}", key_of(reason)),
                reason: format!("engine `{id}` makes way: {}", reason.as_str()),
                engines_wanted: None,
                trace: None,
            },
            service,
        };
        let parts = self.parts.clone();
        let task = tokio::task::spawn_local(async move {
            let result = succeeded(&parts, &old).await;
            let engine = old.id;
            let look = Look::Succeeded {
                engine,
                fence,
                result,
            };
            tell_looked(&parts.links, look).await;
        });
        engine.succession = Some(Task(task.abort_handle()));
    }

    /// The successor of an engine is there, or will not come: then the engine stays, and it is tried again later.
    pub(super) fn has_successor(
        &mut self,
        id: &str,
        fence: u64,
        result: Result<(), String>,
        now: Instant,
    ) {
        let engine = self.engines.get_mut(id);
        let Some(engine) = engine.filter(|engine| engine.running.fence == fence) else {
            return;
        };
        engine.succession = None;
        let service = engine.plan.service.clone();
        match result {
            Ok(()) => {
                let reason = match self.rebalance.moves(&service, id) {
                    true => EndReason::Rebalanced,
                    false => EndReason::Recycled,
                };
                self.observe(id, granted(reason), now);
            }
            Err(why) => {
                tracing::warn!(
                    engine = id,
                    why,
                    "an engine that should make way has no successor and stays"
                );
                if let Some(turns) = self.engines.replacements.get_mut(&service) {
                    turns.ended(&EngineId::from(id), now.into_std());
                }
            }
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

const fn key_of(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Rebalanced => "rebalance",
        _ => "recycle",
    }
}

/// Whether the successor is what it was started for: for another VPN it has to be behind another one. One that is not
/// is one too many, and is stopped as such.
fn suits(parts: &Parts, old: &Old, successor: &str) -> Result<(), String> {
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
        false => Err(format!(
            "`{successor}`, which is behind {vpn:?}, evens nothing out"
        )),
    }
}

/// Waits until the engine may be drained.
async fn succeeded(parts: &Parts, old: &Old) -> Result<(), String> {
    let words = |error: Error| error.to_string();
    let open = room::open_jobs(&parts.queue, old.service.as_str()).await;
    let open = open.map_err(words)?;
    let is_mine = |key: &str| key == old.wish.key;
    let others = open.iter().filter(|job| !is_mine(&job.idempotency_key));
    let in_force = parts.in_force.load();
    let there = room::there(&old.service, &parts.outlet.picture.load(), &in_force.config);
    let places = Places {
        engines: there + others.count(),
        engines_max: old.engines_max,
    };
    if Succession::of(old.reason, old.forwarded, places) == Succession::EndFirst {
        return Ok(());
    }
    let (limits, telling) = (&in_force.config.provision, (&parts.events, &parts.tracer));
    let job = wishes::enqueue(&parts.queue, old.wish.clone(), limits, telling).await;
    let job = job.map_err(words)?;
    let deadline = Instant::now() + REPLACEMENT_LIMIT;
    loop {
        sleep(LOOK_INTERVAL).await;
        let state = parts.queue.get(DEFAULT_QUEUE, &job).await;
        match state.as_ref().map(|job| (job.state(), job)) {
            Ok((State::Done, job)) if !job.result.is_empty() => {
                return suits(parts, old, &job.result);
            }
            Ok((State::Ready | State::Waiting | State::Claimed, _)) | Err(_)
                if Instant::now() < deadline => {}
            Ok((State::Ready | State::Waiting | State::Claimed, _)) => {
                // One that comes all the same is one too many, and is stopped as such.
                let _ = parts.queue.cancel(DEFAULT_QUEUE, &job).await;
                return Err(format!("none was ready within {REPLACEMENT_LIMIT:?}"));
            }
            Ok((state, job)) => return Err(format!("{state:?}: {}", job.last_error)),
            Err(error) => return Err(error.to_string()),
        }
    }
}
