//! Places behind a VPN: as many as engines may be there, whichever nodes run them.
//!
//! Nodes choose a VPN by what they know of engines, and starts of other nodes are not known. So each engine has a place
//! of its own as a hold in the store, from before it starts until it is gone.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{Claim, DEFAULT_QUEUE, Error as QueueError};
use weir_core::provision::RefusalCode;

use super::asking::reserve_anew;
use super::holds::{HELD_BY_NOBODY_MARGIN, HELD_LOOK_INTERVAL, Held, held};
use super::messages::Reserved;
use super::plan::EnginePlan;
use super::runner::{Failed, Taken};
use super::spec::Lot;
use super::{Parts, ProvisionSupervisor};
use crate::config::VpnSettings;

fn place_name(vpn: &str, place: u32) -> String {
    format!("vpn:{vpn}:{place}")
}

/// Takes a place behind the VPN, or behind another one of the service where there is none; waits for one as long as
/// nodes that died may have had it.
pub(super) async fn hold_place(
    parts: &Parts,
    claim: &Claim,
    plan: &EnginePlan,
    mut reserved: Reserved,
    taken: &mut Taken,
) -> Result<(Reserved, Option<u32>), Failed> {
    let until = Instant::now() + claim.ttl + HELD_BY_NOBODY_MARGIN;
    let mut full = BTreeSet::new();
    while let Some(vpn) = &reserved.vpn {
        if let Some((place, hold)) = free_place(parts, &vpn.name, &reserved.places).await? {
            taken.held.push(hold);
            return Ok((reserved, Some(place)));
        }
        full.insert(vpn.name.clone());
        reserved = match reserve_anew(parts, claim, plan, &full).await {
            Err(Failed::Refused(refusal))
                if refusal.code == RefusalCode::MaxCapacity && Instant::now() < until =>
            {
                sleep(HELD_LOOK_INTERVAL).await;
                full.clear();
                reserve_anew(parts, claim, plan, &full).await?
            }
            reserved => reserved?,
        };
    }
    Ok((reserved, None))
}

/// The first of these places that nobody has.
async fn free_place(
    parts: &Parts,
    vpn: &str,
    places: &[u32],
) -> Result<Option<(u32, Held)>, QueueError> {
    for place in places {
        let name = place_name(vpn, *place);
        match parts
            .queue
            .hold(DEFAULT_QUEUE, &name, parts.holder.clone())
            .await
        {
            Ok(hold) => return Ok(Some((*place, held(parts, hold)))),
            Err(QueueError::Held { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Takes the place of an engine that was found, or any other one. One that finds none serves on: there are too many by
/// then, and the next to end is not replaced.
pub(super) async fn hold_place_of(
    parts: &Parts,
    lot: &mut Lot,
    until: Instant,
    holds: &mut Vec<Held>,
) -> Result<(), QueueError> {
    let Some(vpn) = lot.vpn.clone() else {
        return Ok(());
    };
    let in_force = parts.in_force.load();
    let known = in_force.config.vpns.iter().find(|one| one.name == vpn);
    let max = known.map_or(0, |vpn| vpn.engines_max);
    let own: Vec<u32> = lot.place.into_iter().collect();
    loop {
        // Its own, as long as whoever had it may have died; then any.
        let is_late = Instant::now() >= until;
        let any: Vec<u32> = own.iter().copied().chain(0..max).collect();
        let places = if is_late || own.is_empty() {
            &any
        } else {
            &own
        };
        if let Some((place, hold)) = free_place(parts, &vpn, places).await? {
            lot.place = Some(place);
            holds.push(hold);
            return Ok(());
        }
        if is_late {
            tracing::warn!(
                engine = lot.engine_id(),
                vpn,
                max,
                "more engines than may be behind it"
            );
            return Ok(());
        }
        sleep(HELD_LOOK_INTERVAL).await;
    }
}

impl ProvisionSupervisor {
    /// Places behind a VPN that no engine here is known to have, the likeliest to be free first.
    pub(super) fn places(&self, vpn: &VpnSettings) -> Vec<u32> {
        let own = self.engines.all().map(|engine| &engine.lot);
        let lots = own.chain(self.findings.lots());
        let behind = lots.filter(|lot| lot.vpn.as_deref() == Some(vpn.name.as_str()));
        let taken: BTreeSet<u32> = behind.filter_map(|lot| lot.place).collect();
        let (engines, _) = self.engines_behind(&vpn.name);
        let max = vpn.engines_max.max(1);
        let first = u32::try_from(engines).unwrap_or_default() % max;
        let all = (first..vpn.engines_max).chain(0..first);
        all.filter(|place| !taken.contains(place)).collect()
    }
}
