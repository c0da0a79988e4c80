//! What happened between two pictures of the VPNs, as events.

use weir_core::vpn::State;

use super::{Table, VpnView};
use crate::events::{Attribute, Events, Kind};

/// Records what is not as it was.
pub(super) fn record(before: &Table, now: &Table, events: &Events) {
    for view in now.iter() {
        // Another entry counts anew, and nothing is known of how it was.
        let same = |before: &&std::sync::Arc<VpnView>| before.incarnation == view.incarnation;
        let before = before.vpn(&view.name).filter(same);
        look_ups(before.map(|before| &**before), view, events);
        if let Some(before) = before {
            changes(before, view, events);
        }
    }
}

/// Look-ups are counted where they happen, and told with their number.
fn look_ups(before: Option<&VpnView>, now: &VpnView, events: &Events) {
    let since = before.map(|before| before.counters).unwrap_or_default();
    let more = |now: u64, before: u64| now.saturating_sub(before);
    let hits = more(now.counters.hits, since.hits) + now.counts.untold();
    let misses = more(now.counters.misses, since.misses);
    let stale = more(now.counters.stale_served, since.stale_served);
    for (kind, count) in [
        (Kind::PortHit, hits),
        (Kind::PortMiss, misses),
        (Kind::PortStale, stale),
    ] {
        events.record_many(kind, &now.name, [], count);
    }
}

fn changes(before: &VpnView, now: &VpnView, events: &Events) {
    let tell = |kind, attributes: &[Attribute]| {
        let owner = ("owner", now.owner.clone());
        let attributes = attributes.iter().cloned().chain([owner]);
        events.record(kind, &now.name, attributes);
    };
    if let Some(kind) = health(before.health, now.health) {
        tell(kind, &[]);
    }
    for (what, is_other) in [
        ("container", before.networks < now.networks),
        ("tunnel", before.tunnels < now.tunnels),
    ] {
        if is_other {
            tell(Kind::VpnRestarted, &[("what", what.to_owned())]);
        }
    }
    if before.epoch < now.epoch {
        tell(Kind::PortInvalidated, &[("epoch", now.epoch.to_string())]);
    }
    // None is what is known until the port is told; it is no other port.
    if let (Some(from), Some(to)) = (before.settled, now.settled)
        && from != to
    {
        let ports = [("from", from.to_string()), ("to", to.to_string())];
        tell(Kind::PortChanged, &ports);
    }
    for alarm in &now.alarms {
        if !before.alarms.contains(alarm) {
            tell(Kind::PortAlarm, &[("alarm", alarm.clone())]);
        }
    }
}

fn health(before: State, now: State) -> Option<Kind> {
    match now {
        State::Unhealthy if before != State::Unhealthy => Some(Kind::VpnLost),
        State::Recovering { .. } if before == State::Unhealthy => Some(Kind::VpnBack),
        State::Healthy | State::Stable if !before.is_steady() => Some(Kind::VpnStable),
        _ => None,
    }
}
