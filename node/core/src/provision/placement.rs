//! Which VPN a new engine goes behind.
//!
//! Counting and choosing is one call on facts that include what is under way; whoever acts on it adds the engine to
//! [`VpnFacts::pending`] before it asks again.

use super::{Refusal, RefusalCode};
use crate::ids::VpnName;

/// How far a VPN can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpnState {
    /// Up for long enough.
    Stable,
    /// Up again, not for long enough yet.
    Recovering,
    /// Down, or nothing is known.
    Down,
}

/// What is known of a VPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnFacts {
    /// Its name.
    pub name: VpnName,
    /// How far it can be relied on.
    pub state: VpnState,
    /// Engines behind it that run.
    pub engines: usize,
    /// Engines on the way to it that are not counted as running.
    pub pending: usize,
    /// Whether one engine listens on its forwarded port, or is on the way to it.
    pub has_leader: bool,
    /// Whether it has a forwarded port now.
    pub has_port: bool,
}

impl VpnFacts {
    pub(super) fn load(&self) -> usize {
        self.engines.saturating_add(self.pending)
    }

    fn wants_leader(&self) -> bool {
        self.has_port && !self.has_leader
    }

    /// Least for the VPN that the next engine goes behind.
    pub(super) fn order(&self) -> (usize, bool, &VpnName) {
        (self.load(), !self.wants_leader(), &self.name)
    }
}

/// What an engine is behind its VPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It listens on the VPN's forwarded port: the forwarded engine.
    Leader,
    /// It has a port of its own inside of the VPN.
    Follower,
}

/// Where an engine goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Behind which VPN.
    pub vpn: VpnName,
    /// As what.
    pub role: Role,
}

/// Chooses the stable VPN with the fewest engines that has fewer than `density_max`; of equals one that wants a leader,
/// then the first by name.
///
/// # Errors
/// [`RefusalCode::VpnDisconnected`] when none is stable, [`RefusalCode::MaxCapacity`] when all that are have as many
/// engines as they may have.
pub fn place(vpns: &[VpnFacts], density_max: usize) -> Result<Placement, Refusal> {
    let stable = || vpns.iter().filter(|vpn| vpn.state == VpnState::Stable);
    if stable().next().is_none() {
        return Err(Refusal::new(
            RefusalCode::VpnDisconnected,
            disconnected(vpns),
        ));
    }
    let chosen = stable()
        .filter(|vpn| vpn.load() < density_max)
        .min_by_key(|vpn| vpn.order());
    let Some(vpn) = chosen else {
        let message = format!(
            "each stable VPN ({}) has the {density_max} engines that it may have",
            names(stable())
        );
        return Err(Refusal::new(RefusalCode::MaxCapacity, message));
    };
    Ok(Placement {
        vpn: vpn.name.clone(),
        role: match vpn.wants_leader() {
            true => Role::Leader,
            false => Role::Follower,
        },
    })
}

fn disconnected(vpns: &[VpnFacts]) -> String {
    match vpns.iter().any(|vpn| vpn.state == VpnState::Recovering) {
        _ if vpns.is_empty() => "there is no VPN that it may be behind".to_owned(),
        true => format!("no VPN ({}) is up for long enough yet", names(vpns.iter())),
        false => format!("no VPN ({}) is up", names(vpns.iter())),
    }
}

fn names<'a>(vpns: impl Iterator<Item = &'a VpnFacts>) -> String {
    vpns.map(|vpn| vpn.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vpn(name: &str, engines: usize) -> VpnFacts {
        VpnFacts {
            name: name.into(),
            state: VpnState::Stable,
            engines,
            pending: 0,
            has_leader: true,
            has_port: true,
        }
    }

    /// Places one engine after the other, each noted as pending before the next.
    fn place_all(vpns: &mut [VpnFacts], count: usize, density_max: usize) -> Vec<(String, Role)> {
        let mut placed = Vec::new();
        for _ in 0..count {
            let Ok(place) = place(vpns, density_max) else {
                break;
            };
            let vpn = vpns.iter_mut().find(|vpn| vpn.name == place.vpn).unwrap();
            vpn.pending += 1;
            vpn.has_leader |= place.role == Role::Leader;
            placed.push((place.vpn.to_string(), place.role));
        }
        placed
    }

    #[test]
    fn three_decisions_in_a_row_spread_two_and_one_with_one_leader_each() {
        let mut vpns = [vpn("b", 0), vpn("a", 0)];
        vpns.iter_mut().for_each(|vpn| vpn.has_leader = false);
        let placed = place_all(&mut vpns, 3, 15);
        let expected = [
            ("a".to_owned(), Role::Leader),
            ("b".to_owned(), Role::Leader),
            ("a".to_owned(), Role::Follower),
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn three_decisions_at_two_and_two_engines_do_not_all_choose_one_vpn() {
        let placed = place_all(&mut [vpn("a", 2), vpn("b", 2)], 3, 15);
        let names: Vec<&str> = placed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "a"]);
    }

    #[test]
    fn any_number_of_decisions_differ_by_one_at_most_and_stop_at_the_density() {
        for count in 0..50 {
            let mut vpns = [vpn("a", 0), vpn("b", 0), vpn("c", 0)];
            let placed = place_all(&mut vpns, count, 15);
            assert_eq!(placed.len(), count.min(45));
            let loads = vpns.each_ref().map(VpnFacts::load);
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn only_stable_vpns_are_chosen() {
        let mut vpns = [vpn("a", 0), vpn("b", 9)];
        vpns[0].state = VpnState::Recovering;
        assert_eq!(place(&vpns, 15).unwrap().vpn, "b".into());
        vpns[1].state = VpnState::Down;
        let refusal = place(&vpns, 15).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::VpnDisconnected);
        assert_eq!(refusal.message, "no VPN (a, b) is up for long enough yet");
        let none = place(&[], 15).unwrap_err();
        assert_eq!(none.code, RefusalCode::VpnDisconnected);
    }

    #[test]
    fn of_equals_the_one_without_a_leader_is_chosen_if_it_has_a_port() {
        let mut vpns = [vpn("a", 2), vpn("b", 2)];
        vpns[1].has_leader = false;
        let leader = Placement {
            vpn: "b".into(),
            role: Role::Leader,
        };
        assert_eq!(place(&vpns, 15), Ok(leader));
        vpns[1].has_port = false;
        let follower = Placement {
            vpn: "a".into(),
            role: Role::Follower,
        };
        assert_eq!(place(&vpns, 15), Ok(follower));
    }

    #[test]
    fn full_vpns_refuse_and_say_their_bound() {
        let refusal = place(&[vpn("a", 15), vpn("b", 16)], 15).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MaxCapacity);
        let message = "each stable VPN (a, b) has the 15 engines that it may have";
        assert_eq!(refusal.message, message);
    }
}
