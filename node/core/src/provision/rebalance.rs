//! Which engine moves to another VPN when they are spread unevenly: after a VPN was down and is back.
//!
//! A move takes one engine from the VPN with the most to the one with the fewest, and only if they differ by two or
//! more: so each move brings both closer, none is ever undone by the next, and what differs by one stays. Both have to
//! be stable; whoever asks tells a VPN as [`VpnState::Recovering`] until it has been up for long enough for a move.

use std::time::Instant;

use super::{VpnFacts, VpnState};
use crate::ids::{EngineId, VpnName};

/// An engine that may be moved: it is in traffic, and not its VPN's forwarded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movable {
    /// Which.
    pub id: EngineId,
    /// The VPN that it is behind.
    pub vpn: VpnName,
    /// What runs on it.
    pub in_flight: u32,
    /// Since when nothing does.
    pub idle_since: Option<Instant>,
}

/// An engine is to be replaced by one behind another VPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub id: EngineId,
    /// The VPN that it is behind.
    pub from: VpnName,
    /// Where the one that takes its place goes: what [`super::place`] chooses next.
    pub to: VpnName,
}

/// The next move among the VPNs of a service, each with the most engines that it may have; none when they have as many
/// each, to within one, or when none may move.
///
/// Of the `movable` engines the idle one goes first that is so for longest, then the one with the least work.
pub fn rebalance(vpns: &[(VpnFacts, usize)], movable: &[Movable]) -> Option<Move> {
    let stable = || vpns.iter().filter(|(vpn, _)| vpn.state == VpnState::Stable);
    let open = stable().filter(|(vpn, max)| vpn.load() < *max);
    let (to, _) = open.min_by_key(|(vpn, _)| vpn.order())?;
    let behind = |vpn: &VpnFacts| {
        movable
            .iter()
            .filter(|engine| engine.vpn == vpn.name)
            .collect::<Vec<_>>()
    };
    let giving = stable().filter(|(vpn, _)| !behind(vpn).is_empty());
    let (from, _) = giving.max_by_key(|(vpn, _)| (vpn.load(), &vpn.name))?;
    // One less here and one more there must not be as uneven the other way round.
    if from.load() < to.load().saturating_add(2) {
        return None;
    }
    let engine = behind(from)
        .into_iter()
        .min_by_key(|engine| engine.order())?;
    Some(Move {
        id: engine.id.clone(),
        from: from.name.clone(),
        to: to.name.clone(),
    })
}

impl Movable {
    /// Least for the engine that goes first.
    fn order(&self) -> (u32, bool, Option<Instant>, &EngineId) {
        let idle_since = self.idle_since.filter(|_| self.in_flight == 0);
        (self.in_flight, idle_since.is_none(), idle_since, &self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn vpn(name: &str, engines: usize) -> (VpnFacts, usize) {
        let facts = VpnFacts {
            name: name.into(),
            state: VpnState::Stable,
            engines,
            pending: 0,
            has_leader: true,
            has_port: true,
        };
        (facts, 20)
    }

    fn engine(id: &str, vpn: &str) -> Movable {
        Movable {
            id: id.into(),
            vpn: vpn.into(),
            in_flight: 1,
            idle_since: None,
        }
    }

    fn engines(vpn: &str, count: usize) -> Vec<Movable> {
        let id = |number| format!("{vpn}-{number}");
        (0..count).map(|n| engine(&id(n), vpn)).collect()
    }

    #[test]
    fn engines_move_until_the_counts_differ_by_one_at_most_and_then_never_again() {
        for (a, b) in [(4, 0), (0, 5), (9, 2), (1, 1), (2, 1), (20, 0)] {
            let mut vpns = [vpn("a", a), vpn("b", b)];
            let mut movable = [engines("a", a), engines("b", b)].concat();
            let mut moved = 0;
            while let Some(step) = rebalance(&vpns, &movable) {
                moved += 1;
                for (facts, _) in &mut vpns {
                    facts.engines += usize::from(facts.name == step.to);
                    facts.engines -= usize::from(facts.name == step.from);
                }
                let engine = movable.iter_mut().find(|engine| engine.id == step.id);
                engine.unwrap().vpn = step.to;
            }
            let [(a_now, _), (b_now, _)] = vpns;
            assert!(a_now.load().abs_diff(b_now.load()) <= 1, "{a} and {b}");
            assert_eq!(moved, a.abs_diff(b) / 2, "no more than evens them out");
        }
    }

    #[test]
    fn a_successor_on_its_way_counts_so_that_nothing_follows_it() {
        let mut vpns = [vpn("a", 3), vpn("b", 1)];
        let movable = engines("a", 3);
        assert!(rebalance(&vpns, &movable).is_some());
        vpns[1].0.pending = 1;
        assert_eq!(rebalance(&vpns, &movable), None);
    }

    #[test]
    fn nothing_moves_while_either_vpn_is_not_stable() {
        for at in [0, 1] {
            for state in [VpnState::Recovering, VpnState::Down] {
                let mut vpns = [vpn("a", 4), vpn("b", 0)];
                vpns[at].0.state = state;
                assert_eq!(rebalance(&vpns, &engines("a", 4)), None);
            }
        }
        // A third one that is down does not keep the others uneven.
        let mut vpns = [vpn("a", 4), vpn("b", 0), vpn("c", 0)];
        vpns[2].0.state = VpnState::Down;
        let step = rebalance(&vpns, &engines("a", 4)).unwrap();
        assert_eq!((step.from, step.to), ("a".into(), "b".into()));
    }

    #[test]
    fn the_engine_that_was_idle_for_longest_goes_first_then_the_one_with_the_least_work() {
        let now = Instant::now();
        let mut movable = engines("a", 4);
        let idle = |movable: &mut Vec<Movable>, at: usize, seconds| {
            movable[at].in_flight = 0;
            movable[at].idle_since = Some(now + Duration::from_secs(seconds));
        };
        movable[0].in_flight = 9;
        movable[1].in_flight = 3;
        movable[2].in_flight = 7;
        let next =
            |movable: &[Movable]| rebalance(&[vpn("a", 4), vpn("b", 0)], movable).unwrap().id;
        assert_eq!(next(&movable), "a-3".into());
        idle(&mut movable, 0, 20);
        idle(&mut movable, 2, 10);
        assert_eq!(next(&movable), "a-2".into());
    }

    #[test]
    fn a_vpn_without_room_gets_none_and_one_whose_engines_stay_gives_none() {
        let mut vpns = [vpn("a", 4), vpn("b", 1)];
        assert_eq!(rebalance(&vpns, &[]), None, "they stay where they are");
        vpns[1].1 = 1;
        assert_eq!(rebalance(&vpns, &engines("a", 4)), None, "it is full");
    }
}
