//! The port that other peers reach an engine at: its VPN's forwarded one, or one of its own.

use weir_control_plane::jobs::{DEFAULT_QUEUE, Error as QueueError};
use weir_core::port_cache::Port;
use weir_core::provision::{Refusal, RefusalCode, follower_ports};
use weir_core::vpn::Doubt;

use super::Parts;
use super::holds::{Held, held, hold_forwarded, port_name};
use super::runner::{Failed, Taken};
use super::settle::release;
use super::spec::Lot;
use crate::config::VpnSettings;
use crate::telemetry::steps::PORT_CACHE;

/// Ports of followers that are tried for one that nobody has.
const TRIES: usize = 64;

/// Chooses it: the forwarded one if it is wanted and to be had.
pub(super) async fn choose(
    parts: &Parts,
    vpn: &VpnSettings,
    wants_forwarded: bool,
    lot: &mut Lot,
    taken: &mut Taken,
) -> Result<(), Failed> {
    if wants_forwarded && lead(parts, vpn, lot, taken).await? {
        return Ok(());
    }
    lot.p2p_port = Some(follow(parts, vpn, lot, taken).await?);
    Ok(())
}

/// Refuses a start with a forwarded port that the VPN may have lost while the start waited for its turn.
pub(super) fn check(parts: &Parts, lot: &Lot) -> Result<(), Failed> {
    let Some(vpn) = lot.vpn.as_ref().filter(|_| lot.is_forwarded) else {
        return Ok(());
    };
    match parts.ports.grant(vpn) {
        Ok(port) if lot.p2p_port == Some(port.get()) => Ok(()),
        Ok(told) => {
            let is_out = false;
            Err(refused(vpn, Doubt::Unconfirmed { told, is_out }))
        }
        Err(doubt) => Err(refused(vpn, doubt)),
    }
}

/// Takes the forwarded port; false when there is none, or another engine has it: then this one follows.
async fn lead(
    parts: &Parts,
    vpn: &VpnSettings,
    lot: &mut Lot,
    taken: &mut Taken,
) -> Result<bool, Failed> {
    if forwarded(parts, &vpn.name, taken).await?.is_none() {
        return Ok(false);
    }
    let Some(hold) = hold_forwarded(parts, &vpn.name, taken).await? else {
        return Ok(false);
    };
    taken.held.push(hold);
    // It may have changed meanwhile.
    if let Some(port) = forwarded(parts, &vpn.name, taken).await?
        && let Some(hold) = hold_number(parts, &vpn.name, port.get()).await?
    {
        // Whoever gets the forwarded port next finds the number free.
        taken.held.insert(taken.held.len() - 1, hold);
        lot.p2p_port = Some(port.get());
        lot.is_forwarded = true;
        return Ok(true);
    }
    if let Some(unused) = taken.held.pop() {
        release(parts, unused).await;
    }
    Ok(false)
}

/// The number of a port in the VPN's network, where every engine of every node listens; none when an engine has it.
async fn hold_number(parts: &Parts, vpn: &str, port: u16) -> Result<Option<Held>, Failed> {
    let (name, holder) = (port_name(vpn, port), parts.holder.clone());
    match parts.queue.hold(DEFAULT_QUEUE, &name, holder).await {
        Ok(hold) => Ok(Some(held(parts, hold))),
        Err(QueueError::Held { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The port that a VPN forwards; none when it has none.
async fn forwarded(parts: &Parts, vpn: &str, taken: &mut Taken) -> Result<Option<Port>, Failed> {
    let (port, how) = parts.ports.port_for_provision(vpn).await;
    if let Some(how) = how {
        taken.trace.note_step((PORT_CACHE, how.as_str().into()));
    }
    match port {
        Ok(port) => Ok(Some(port)),
        Err(Doubt::NoPort) => Ok(None),
        Err(doubt) => Err(refused(vpn, doubt)),
    }
}

fn refused(vpn: &str, doubt: Doubt) -> Failed {
    let code = match doubt {
        Doubt::Down => RefusalCode::VpnDisconnected,
        _ => RefusalCode::PortUnconfirmed,
    };
    let refusal = Refusal::new(code, format!("VPN `{vpn}`: {doubt}"));
    Failed::Refused(match doubt.eta() {
        Some(eta) => refusal.with_eta(eta),
        None => refusal,
    })
}

/// A port of its own, which nothing behind the VPN has and the VPN does not forward.
async fn follow(
    parts: &Parts,
    vpn: &VpnSettings,
    lot: &Lot,
    taken: &mut Taken,
) -> Result<u16, Failed> {
    let settled = parts.ports.view(&vpn.name).and_then(|view| view.settled);
    let forwarded = settled.map(Port::get);
    let candidates = follower_ports(lot.port).filter(|port| Some(*port) != forwarded);
    for port in candidates.take(TRIES) {
        if let Some(hold) = hold_number(parts, &vpn.name, port).await? {
            taken.held.push(hold);
            return Ok(port);
        }
    }
    let message = format!("no port for peers is free behind VPN `{}`", vpn.name);
    Err(Refusal::new(RefusalCode::NoPortFree, message).into())
}
