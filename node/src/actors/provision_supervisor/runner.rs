//! The way of one job: from the claim to an engine that serves.
//!
//! ```text
//! slot (a hold: its fence) ─► VPN (a place: a hold) ─► port ─► forwarded port (a hold) ─► the gate ─► driver
//!     ─► probes ─► in traffic ─► done
//! ```
//!
//! Whatever ends it on the way, what it has taken is given back: the driver stops what it started, holds are released,
//! and the job is failed or given back. When the process dies instead, leases and labels do the same.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use weir_control_plane::jobs::{Claim, Error as QueueError};
use weir_core::error::chain;
use weir_core::ids::{BackendId, ServiceName};
use weir_core::provision::Refusal;
use weir_engines::driver::{self, Running};

use super::asking::reserve;
use super::holds::{Held, hold_port, hold_slot};
use super::kept::Kept;
use super::messages::{Admit, Over, Ready, Reserved, Started};
use super::pacer::Turn;
use super::patience::Soft;
use super::places::hold_place;
use super::plan::EnginePlan;
use super::publish::Leave;
use super::settle::{complete, give_back, settle, tell_over};
use super::spec::{Lot, id_of, spec};
use super::trace;
use super::{Parts, fleet_turn, networks, peer_ports};
use crate::config::{DriverKind, VpnSettings};
use crate::link::Refused;
use crate::prober::{self, probe};
use crate::telemetry::spans::SpanKind;
use crate::telemetry::steps::StepTrace;

/// How long the supervisor may take to answer.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a job waits for the registry; without it the engine serves this node alone.
const REGISTERED_WITHIN: Duration = Duration::from_secs(5);
const REGISTERED_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks whether an engine is ready.
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// Nothing can be provisioned now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Every slot is somebody's.
    #[error("every slot of the service is taken")]
    NoSlot,
    /// The supervisor did not answer.
    #[error("the supervisor did not answer: {0}")]
    Away(#[from] Refused),
    /// The store did not do what it should.
    #[error("the store: {0}")]
    Queue(#[from] QueueError),
    /// The driver did not start it.
    #[error("{driver}: {source}")]
    Driver {
        /// Which.
        driver: &'static str,
        /// Why.
        source: driver::Error,
    },
    /// It runs, and does not answer.
    #[error("not ready after {after:?}: {why}")]
    NotReady {
        /// How long it had.
        after: Duration,
        /// What the last probe said.
        why: String,
    },
    /// The job took longer than it may.
    #[error("took longer than the hard limit of {0:?}")]
    Late(Duration),
    /// It was asked to end, and did, with whatever it had begun.
    #[error("took longer than the soft limit of {0:?}, and ended as it was asked to")]
    Asked(Duration),
    /// It was asked to end while others had the turn to start: nothing of it failed.
    #[error("its turn did not come before the soft limit of {0:?}")]
    TooLate(Duration),
    /// It got ready, and was gone before clients could reach it.
    #[error("it was gone before clients could reach it")]
    GoneAgain,
    /// The claim or the slot is somebody else's by now.
    #[error("the claim was lost")]
    Lost,
    /// The node stops; another one may have the job.
    #[error("the node stops")]
    Leaves,
    /// There are as many engines as were wanted.
    #[error("the service has engines enough without")]
    NotNeeded,
    /// The service is no longer configured here.
    #[error("the service has no engines here any more")]
    Gone,
}

/// Why a job came to nothing, for the supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// In words.
    pub why: String,
    /// The breaker counts it.
    pub counts: bool,
    /// The driver did not do what it should, whatever it was asked to start.
    pub is_of_driver: bool,
    /// The engine whose container's name is a stranger's.
    pub name_taken: Option<String>,
    /// Nothing failed: it could not begin now.
    pub refusal: Option<Refusal>,
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self {
            why: chain(&failed).to_string(),
            counts: failed.is_failure(),
            is_of_driver: failed.is_of_driver(),
            name_taken: match &failed {
                Failed::Driver {
                    source: driver::Error::NameTaken(name),
                    ..
                } => Some(id_of(name).to_owned()),
                _ => None,
            },
            refusal: match failed {
                Failed::Refused(refusal) => Some(refusal),
                _ => None,
            },
        }
    }
}

impl Failed {
    /// Whether the driver was away, so that it says nothing of the service.
    pub(super) const fn is_of_driver(&self) -> bool {
        use driver::Error::{Late, Unreachable};
        let source = match self {
            Self::Driver { source, .. } => source,
            _ => return false,
        };
        matches!(source, Unreachable { .. } | Late { .. })
    }

    /// Whether the provisioning itself failed, as the breaker counts it.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Driver { .. }
                | Self::NotReady { .. }
                | Self::Asked(_)
                | Self::Late(_)
                | Self::GoneAgain
        )
    }
}

/// What a job has taken so far, and what it spent its time on.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) trace: StepTrace,
    pub(super) held: Vec<Held>,
    /// It has the turn to start, of all nodes.
    pub(super) fleet_turn: Option<Held>,
    pub(super) started: Option<(Lot, u64, DriverKind)>,
    /// The engine, once it is the supervisor's to care for.
    pub(super) handed_over: Option<String>,
    /// It is ready, and the job is all but done.
    is_ready: Rc<Cell<bool>>,
}

/// Runs the job to its end.
pub(super) async fn run(
    parts: Parts,
    claim: Claim,
    plan: Arc<EnginePlan>,
    (soft_limit, hard_limit): (Duration, Duration),
    asked_at: Instant,
) {
    let job = claim.ticket.job_id.clone();
    let kept = Kept::claim(Arc::clone(&parts.queue), claim.ticket.clone(), claim.ttl);
    let mut taken = Taken {
        trace: trace::begin(&parts, &claim, asked_at),
        ..Taken::default()
    };
    trace::claimed(&parts, &claim);
    let times = (soft_limit, hard_limit);
    let outcome = attempt(&parts, &claim, &plan, (&kept, times), &mut taken).await;
    let mut over = Over {
        job,
        service: plan.service.clone(),
        engine: None,
        failure: None,
        plan: Arc::clone(&plan),
    };
    let outcome = match outcome {
        Ok(engine) => {
            taken.trace.step("job.complete", SpanKind::Internal);
            complete(&parts, &claim, &engine).await
        }
        Err(failed) => Err(failed),
    };
    trace::end(&parts, &claim, std::mem::take(&mut taken.trace), &outcome);
    over.engine = taken.handed_over.take();
    if let Err(Failed::NotNeeded) = outcome {
        tracing::info!(job = over.job, service = %plan.service, "no engine is needed any more");
        give_back(&parts, taken).await;
        // A claim that is not ended here ends by itself, and the next one comes to the same.
        drop(complete(&parts, &claim, "").await);
    } else if let Err(failed) = outcome {
        tracing::warn!(job = over.job, service = %plan.service, error = %chain(&failed), "engine not provisioned");
        // A node that stops may not get any further; its holds keep others from what it has taken.
        let leaves = matches!(failed, Failed::Leaves);
        if leaves {
            settle(&parts, &claim, &failed).await;
        }
        give_back(&parts, taken).await;
        if !leaves {
            settle(&parts, &claim, &failed).await;
        }
        over.failure = Some(failed.into());
    }
    tell_over(&parts, over).await;
}

/// Provisions for as long as the claim is kept, the node stays and time is left.
async fn attempt(
    parts: &Parts,
    claim: &Claim,
    plan: &Arc<EnginePlan>,
    (kept, (soft_limit, hard_limit)): (&Kept, (Duration, Duration)),
    taken: &mut Taken,
) -> Result<String, Failed> {
    let began = Instant::now();
    let is_ready = Rc::clone(&taken.is_ready);
    let leaves_before_it_is_ready = async {
        parts.outlet.leaves().await;
        if is_ready.get() {
            std::future::pending().await
        }
    };
    let provisioned = provision(parts, claim, plan, taken, Soft::after(began, soft_limit));
    tokio::select! {
        biased;
        () = kept.lost() => Err(Failed::Lost),
        () = leaves_before_it_is_ready => Err(Failed::Leaves),
        done = timeout_at(began + hard_limit, provisioned) => {
            done.unwrap_or(Err(Failed::Late(hard_limit)))
        }
    }
}

/// Provisions; what was taken is in `taken` whenever this ends early, and with the supervisor once it is ready.
async fn provision(
    parts: &Parts,
    claim: &Claim,
    plan: &Arc<EnginePlan>,
    taken: &mut Taken,
    soft: Soft,
) -> Result<String, Failed> {
    let job = claim.ticket.job_id.clone();
    taken.trace.step("slot.hold", SpanKind::Internal);
    let reserved = reserve(parts, claim, plan, (false, 0)).await?;
    let slot = hold_slot(parts, claim, plan, &reserved.slots);
    let (number, slot) = soft.unless_asked(slot).await?;
    let fence = slot.hold.fence;
    taken.held.push(slot);
    taken.trace.step("port.reserve", SpanKind::Internal);
    let placed = hold_place(parts, claim, plan, reserved, taken);
    let (reserved, place) = soft.unless_asked(placed).await?;
    let held = hold_port(parts, claim, plan, reserved, taken);
    let reserved = soft.unless_asked(held).await?;
    let mut lot = lot_of(parts, plan, (&job, number), &reserved, place);
    let (vpn, wants_forwarded) = (reserved.vpn, reserved.wants_forwarded);
    if let Some(vpn) = &vpn {
        let chosen = peer_ports::choose(parts, vpn, wants_forwarded, &mut lot, taken);
        soft.unless_asked(chosen).await?;
    }
    let turn = soft.turn(turn(parts, &lot, taken)).await?;
    peer_ports::check(parts, &lot)?;
    lot.network = networks::network_now(parts, plan, vpn.as_ref());
    taken.trace.step("driver.start", SpanKind::Client);
    let running = start_it(parts, plan, (&lot, fence), vpn.as_ref(), taken, turn).await?;
    let started = Started {
        job: job.clone(),
        lot: lot.clone(),
        running: running.clone(),
        plan: Arc::clone(plan),
    };
    parts.links.started.ask(started, None, ASK_TIMEOUT).await?;
    taken.trace.step("readiness.probe", SpanKind::Client);
    let ready = until_ready(parts, plan, &lot, vpn.as_ref());
    let probes = soft.unless_asked(ready).await?;
    taken.trace.note_step(("weir.probes", probes.into()));
    taken.is_ready.set(true);
    taken.trace.step("engine.register", SpanKind::Internal);
    let ready = Ready {
        job,
        lot: lot.clone(),
        running,
        plan: Arc::clone(plan),
        held: std::mem::take(&mut taken.held),
    };
    parts.links.ready.ask(ready, None, ASK_TIMEOUT).await?;
    taken.started = None;
    let engine = lot.engine_id();
    taken.handed_over = Some(engine.clone());
    // The job is done when clients can reach it.
    tokio::select! {
        biased;
        () = parts.outlet.is_given(&engine) => {}
        () = parts.outlet.is_gone(&engine) => return Err(Failed::GoneAgain),
    }
    until_registered(parts, &lot).await;
    Ok(engine)
}

/// What a job has got so far.
fn lot_of(
    parts: &Parts,
    plan: &EnginePlan,
    (job, slot): (&str, u32),
    reserved: &Reserved,
    place: Option<u32>,
) -> Lot {
    Lot {
        job: job.to_owned(),
        service: plan.service.as_str().to_owned(),
        slot,
        node: parts.node.clone(),
        port: reserved.port,
        extra_ports: reserved.extra_ports.clone(),
        p2p_port: None,
        vpn: reserved.vpn.as_ref().map(|vpn| vpn.name.clone()),
        place,
        is_forwarded: false,
        network: None,
    }
}

/// Waits until the start may begin: it has the turn until the driver has been asked.
async fn turn<'a>(parts: &'a Parts, lot: &Lot, taken: &mut Taken) -> Result<Turn<'a>, Failed> {
    trace::reserved(taken, lot);
    taken.trace.step("gate.wait", SpanKind::Internal);
    let (start, may_start) = oneshot::channel();
    let admit = Admit {
        job: lot.job.clone(),
        slot: lot.slot,
        start,
    };
    let waits_for = parts.links.admit.ask(admit, None, ASK_TIMEOUT).await??;
    trace::waits(parts, taken, lot, waits_for);
    may_start.await.map_err(|_| Failed::Away(Refused::Away))??;
    let turn = parts.pacer.turn().await;
    taken.fleet_turn = fleet_turn::wait(parts).await?;
    Ok(turn)
}

/// Waits a while until the control plane tells this node of the engine: then it tells others, too.
async fn until_registered(parts: &Parts, lot: &Lot) {
    let (service, id) = (
        ServiceName::from(lot.service.as_str()),
        BackendId::from(lot.engine_id().as_str()),
    );
    let deadline = Instant::now() + REGISTERED_WITHIN;
    let is_told = || {
        let in_force = parts.in_force.load();
        let endpoints = &in_force.config.given().endpoints;
        endpoints
            .get(&service)
            .is_some_and(|registered| registered.contains_key(&id))
    };
    let stays = || *parts.outlet.leave.borrow() == Leave::Stays;
    while parts.registers && stays() && !is_told() && Instant::now() < deadline {
        sleep(REGISTERED_LOOK_INTERVAL).await;
    }
}

async fn start_it(
    parts: &Parts,
    plan: &EnginePlan,
    (lot, fence): (&Lot, u64),
    vpn: Option<&VpnSettings>,
    taken: &mut Taken,
    turn: Turn<'_>,
) -> Result<Running, Failed> {
    let kind = plan.settings.launch.driver;
    let driver = parts.drivers.of(kind);
    taken.started = Some((lot.clone(), fence, kind));
    taken.trace.note_step(("weir.driver", kind.name().into()));
    let fence_shown = i64::try_from(fence).unwrap_or(i64::MAX);
    taken.trace.note_step(("weir.fence", fence_shown.into()));
    let mut starting = driver.start(spec(plan, lot, fence, vpn));
    let begun = futures::poll!(&mut starting);
    drop(turn);
    fleet_turn::pass_on(parts, taken.fleet_turn.take());
    let started = match begun {
        Poll::Ready(started) => started,
        Poll::Pending => starting.await,
    };
    started.map_err(|source| Failed::Driver {
        driver: kind.name(),
        source,
    })
}

/// Probes it until it is ready; tells how often.
async fn until_ready(
    parts: &Parts,
    plan: &EnginePlan,
    lot: &Lot,
    vpn: Option<&VpnSettings>,
) -> Result<i64, Failed> {
    let care = &plan.settings.care;
    let target = target(plan, lot, vpn)?;
    let deadline = Instant::now() + care.ready_timeout;
    let mut probes = 0;
    loop {
        probes += 1;
        let why = match probe(&*parts.net, &target).await {
            Ok(()) => return Ok(probes),
            Err(why) => why,
        };
        if Instant::now() >= deadline {
            return Err(Failed::NotReady {
                after: care.ready_timeout,
                why,
            });
        }
        sleep(READY_LOOK_INTERVAL.min(care.interval)).await;
    }
}

/// How an engine is probed.
pub(super) fn target(
    plan: &EnginePlan,
    lot: &Lot,
    vpn: Option<&VpnSettings>,
) -> Result<prober::Target, Failed> {
    Ok(prober::Target {
        endpoint: lot.address(plan, vpn).parse().map_err(|_| Failed::Gone)?,
        protocol: plan.protocol,
        check: plan.settings.care.probe.clone(),
        timeout: plan.settings.care.timeout,
    })
}
