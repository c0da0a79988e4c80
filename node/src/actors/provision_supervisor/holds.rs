//! What a job takes in the store, so that no other node has it: a slot, a port of a VPN, a VPN's forwarded port.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{Claim, DEFAULT_QUEUE, Error as QueueError, Hold};
use weir_core::provision::{Refusal, RefusalCode};

use super::Parts;
use super::asking::{reserve, reserve_extras_anew};
use super::kept::Kept;
use super::messages::Reserved;
use super::plan::EnginePlan;
use super::runner::{Failed, Taken};
use super::spec::engine_id;

/// Ports behind a VPN that are tried for one that nobody has.
const PORT_TRIES: u32 = 32;
/// What a node held that died ends this long after a claim that began with it.
pub(super) const HELD_BY_NOBODY_MARGIN: Duration = Duration::from_secs(2);
/// How long the engine before is waited for while it leaves: as long as engines may drain by default.
const LEAVING_WAIT: Duration = Duration::from_secs(30);
/// Between two looks for a slot or a port that gets free.
pub(super) const HELD_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A slot or a forwarded port that is this node's.
#[derive(Clone, Debug)]
pub struct Held {
    pub(crate) hold: Hold,
    pub(crate) kept: Arc<Kept>,
}

/// Behind a VPN other nodes may have engines, too: the port there is taken in the store.
pub(super) async fn hold_port(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    mut reserved: Reserved,
    taken: &mut Taken,
) -> Result<Reserved, Failed> {
    let mut tries = 0;
    while let Some(vpn) = &reserved.vpn {
        tries += 1;
        let name = port_name(&vpn.name, reserved.port);
        match parts
            .queue
            .hold(DEFAULT_QUEUE, &name, parts.holder.clone())
            .await
        {
            Ok(hold) => {
                taken.held.push(held(parts, hold));
                break;
            }
            Err(QueueError::Held { .. }) if tries < PORT_TRIES => {
                reserved = reserve(parts, claim, plan, (true, 0)).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    hold_extra_ports(parts, claim, plan, reserved, taken).await
}

/// The same for its further ports.
async fn hold_extra_ports(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    mut reserved: Reserved,
    taken: &mut Taken,
) -> Result<Reserved, Failed> {
    let Some(vpn) = reserved.vpn.as_ref().map(|vpn| vpn.name.clone()) else {
        return Ok(reserved);
    };
    let mut ours = BTreeSet::new();
    for _ in 0..PORT_TRIES {
        let mut others = BTreeSet::new();
        for port in reserved.extra_ports.values() {
            if ours.contains(port) {
                continue;
            }
            let (name, holder) = (port_name(&vpn, *port), parts.holder.clone());
            match parts.queue.hold(DEFAULT_QUEUE, &name, holder).await {
                Ok(hold) => {
                    taken.held.push(held(parts, hold));
                    ours.insert(*port);
                }
                Err(QueueError::Held { .. }) => {
                    others.insert(*port);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if others.is_empty() {
            return Ok(reserved);
        }
        reserved = reserve_extras_anew(parts, claim, plan, others).await?;
    }
    let message = format!("no further port of VPN `{vpn}` is free");
    Err(Refusal::new(RefusalCode::NoPortFree, message).into())
}

/// A slot that is nobody's: the first of these, or one that gets free while what is held by a node that died ends.
pub(super) async fn hold_slot(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    slots: &[u32],
) -> Result<(u32, Held), Failed> {
    let until = Instant::now() + claim.ttl + HELD_BY_NOBODY_MARGIN;
    let mut slots = slots.to_vec();
    loop {
        match free_slot(parts, plan, &slots).await {
            Err(Failed::NoSlot) if Instant::now() < until => {}
            done => return done,
        }
        // What jobs of other nodes hold is not known here, and may be more than a job is offered at a time.
        let tried = slots.last().copied().unwrap_or_default();
        slots = reserve(parts, claim, plan, (false, tried)).await?.slots;
        if slots.is_empty() {
            sleep(HELD_LOOK_INTERVAL).await;
            slots = reserve(parts, claim, plan, (false, 0)).await?.slots;
        }
    }
}

/// The first of these slots that is nobody's now.
async fn free_slot(parts: &Parts, plan: &EnginePlan, slots: &[u32]) -> Result<(u32, Held), Failed> {
    for slot in slots {
        let name = slot_name(&engine_id(plan.service.as_str(), *slot));
        match parts
            .queue
            .hold(DEFAULT_QUEUE, &name, parts.holder.clone())
            .await
        {
            Ok(hold) => return Ok((*slot, held(parts, hold))),
            Err(QueueError::Held { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failed::NoSlot)
}

pub(super) fn held(parts: &Parts, hold: Hold) -> Held {
    let kept = Arc::new(Kept::hold(Arc::clone(&parts.queue), hold.clone()));
    Held { hold, kept }
}

pub(super) fn slot_name(engine_id: &str) -> String {
    format!("engine:{engine_id}")
}

pub(super) fn port_name(vpn: &str, port: u16) -> String {
    format!("port:{vpn}:{port}")
}

pub(super) fn forwarded_name(vpn: &str) -> String {
    format!("forwarded:{vpn}")
}

/// The forwarded port of a VPN; `None` when another engine has it or is about to: then this one follows.
///
/// Whoever has it may have died, and then it is free in a moment. So it is waited for until an engine is known to
/// have it, or for as long as it can outlive its holder.
pub(super) async fn hold_forwarded(
    parts: &Parts,
    vpn: &str,
    taken: &Taken,
) -> Result<Option<Held>, Failed> {
    let ttl = taken
        .held
        .first()
        .map_or(Duration::ZERO, |slot| slot.hold.ttl);
    let until = Instant::now() + (ttl + HELD_BY_NOBODY_MARGIN).max(LEAVING_WAIT);
    let name = forwarded_name(vpn);
    loop {
        match parts
            .queue
            .hold(DEFAULT_QUEUE, &name, parts.holder.clone())
            .await
        {
            Ok(hold) => return Ok(Some(held(parts, hold))),
            Err(QueueError::Held { .. }) if Instant::now() < until && !is_led(parts, vpn) => {
                sleep(HELD_LOOK_INTERVAL).await;
            }
            Err(QueueError::Held { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether an engine that stays is known to have the forwarded port of a VPN.
fn is_led(parts: &Parts, vpn: &str) -> bool {
    let in_force = parts.in_force.load();
    let mut facts = in_force
        .config
        .given()
        .endpoints
        .values()
        .flatten()
        .filter_map(|(_, backend)| backend.engine.as_ref());
    let picture = parts.outlet.picture.load();
    facts.any(|facts| facts.is_forwarded && facts.vpn.as_deref() == Some(vpn))
        || picture.engines.iter().any(|own| {
            let leaves = matches!(own.state, "draining" | "stopping" | "gone");
            own.is_forwarded && !leaves && own.vpn.as_deref() == Some(vpn)
        })
}
