//! What must hold for the life of an engine whatever is seen of it and whenever.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::provision::{Action, Care, CareRules, CareState, EndReason, Observation};

fn observations() -> impl Strategy<Value = Observation> {
    let plain = [
        Observation::Running,
        Observation::ProbePassed,
        Observation::ProbeFailed,
        Observation::VpnLost,
        Observation::VpnBack,
        Observation::ReplacementGranted,
        Observation::Tick,
    ];
    let ending = [
        Observation::Ended,
        Observation::DrainAsked,
        Observation::StopAsked,
        Observation::PortChanged,
        Observation::NetworkGone,
    ];
    let used = (0..3u32, 0..20u64);
    prop_oneof![
        20 => prop::sample::select(plain.to_vec()),
        1 => prop::sample::select(ending.to_vec()),
        3 => used.prop_map(|(in_flight, uses)| Observation::Used { in_flight, uses }),
    ]
}

fn rules() -> impl Strategy<Value = CareRules> {
    (
        0..4u32,
        0..4u32,
        0..12u64,
        any::<bool>(),
        prop::option::of(0..100u64),
    )
        .prop_map(
            |(failures_max, in_use_patience, recycle_after_uses, outdated, grace)| CareRules {
                failures_max,
                in_use_patience,
                recycle_after_uses,
                outdated,
                vpn_lost_grace: grace.map(Duration::from_secs),
                ..CareRules::default()
            },
        )
}

/// What somebody knows who only follows the actions.
#[derive(Default)]
struct Follower {
    published: bool,
    proven: bool,
    vpn_down: bool,
    unwanted: bool,
    gone: bool,
}

impl Follower {
    fn sees(&mut self, seen: Observation) {
        match seen {
            Observation::ProbePassed if !self.vpn_down => self.proven = true,
            Observation::VpnLost => (self.vpn_down, self.proven) = (true, false),
            Observation::VpnBack => self.vpn_down = false,
            Observation::DrainAsked | Observation::StopAsked => self.unwanted |= !self.gone,
            _ => {}
        }
    }

    fn follows(&mut self, action: Action) -> Result<(), TestCaseError> {
        prop_assert!(!self.gone, "nothing after it is gone");
        match action {
            Action::Publish => {
                prop_assert!(!self.published && self.proven && !self.vpn_down && !self.unwanted);
                self.published = true;
            }
            Action::Hide => {
                prop_assert!(self.published);
                self.published = false;
            }
            Action::Stop(_) => prop_assert!(!self.published, "hidden before it is stopped"),
            Action::Replace(_) => prop_assert!(!self.unwanted && !self.vpn_down),
            Action::Remove { reason, replace } => {
                prop_assert!(!self.published, "hidden before it is removed");
                prop_assert!(
                    !(replace && self.unwanted),
                    "who is not wanted is not replaced"
                );
                prop_assert!(!self.unwanted || reason == EndReason::Asked);
                self.gone = true;
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn an_engine_gets_traffic_only_when_proven_and_is_removed_once(
        rules in rules(),
        forwarded in any::<bool>(),
        steps in prop::collection::vec((0..30u64, observations()), 0..150),
    ) {
        let mut now = Instant::now();
        let mut care = Care::starting(forwarded, now);
        let mut follower = Follower::default();
        for (wait, seen) in &steps {
            now += Duration::from_secs(*wait);
            follower.sees(*seen);
            for action in care.observe(*seen, &rules, now) {
                follower.follows(action)?;
            }
            prop_assert_eq!(care.is_published(), follower.published);
            prop_assert_eq!(matches!(care.state(), CareState::Gone { .. }), follower.gone);
        }
    }

    #[test]
    fn whoever_is_asked_to_drain_is_stopped_by_the_deadline_whatever_happens(
        rules in rules(),
        before in prop::collection::vec((0..30u64, observations()), 0..60),
        after in prop::collection::vec((0..30u64, observations()), 0..60),
    ) {
        let mut now = Instant::now();
        let mut care = Care::starting(true, now);
        for (wait, seen) in &before {
            now += Duration::from_secs(*wait);
            care.observe(*seen, &rules, now);
        }
        let deadline = now + rules.drain_timeout;
        care.observe(Observation::DrainAsked, &rules, now);
        for (wait, seen) in &after {
            now += Duration::from_secs(*wait);
            care.observe(*seen, &rules, now);
        }
        care.observe(Observation::Tick, &rules, now.max(deadline));
        let ends = matches!(care.state(), CareState::Stopping { .. } | CareState::Gone { .. });
        prop_assert!(ends, "{:?}", care.state());
    }
}
