//! What a VPN does to the engines behind it.

use std::time::{Duration, Instant};

use super::tests::{Life, RULES, removed};
use super::*;

#[test]
fn a_lost_vpn_hides_an_engine_without_blaming_it_and_a_probe_shows_it_again() {
    let mut life = Life::ready(false);
    assert_eq!(life.see(10, Observation::VpnLost), [Action::Hide]);
    for n in 0..100 {
        assert_eq!(life.see(11 + n, Observation::ProbeFailed), []);
    }
    assert_eq!(life.care.state(), CareState::Ready);
    assert_eq!(
        life.see(120, Observation::ProbePassed),
        [],
        "its VPN is down"
    );
    assert_eq!(
        life.see(121, Observation::VpnBack),
        [],
        "nothing is known yet"
    );
    assert_eq!(life.see(122, Observation::ProbePassed), [Action::Publish]);
}

#[test]
fn failures_from_before_an_outage_of_the_vpn_do_not_count_after_it() {
    let mut life = Life::ready(false);
    life.see(10, Observation::ProbeFailed);
    life.see(11, Observation::ProbeFailed);
    life.see(12, Observation::VpnLost);
    life.see(13, Observation::VpnBack);
    life.see(14, Observation::ProbeFailed);
    assert_eq!(life.care.state(), CareState::Ready);
}

#[test]
fn the_grace_of_an_unhealthy_engine_begins_anew_when_its_vpn_is_back() {
    let mut life = Life::unhealthy();
    life.see(20, Observation::VpnLost);
    assert_eq!(life.see(100, Observation::Tick), []);
    life.see(110, Observation::VpnBack);
    assert_eq!(life.see(169, Observation::Tick), []);
    let replace = Action::Replace(EndReason::Unhealthy);
    assert_eq!(life.see(170, Observation::Tick), [replace]);
}

#[test]
fn a_vpn_that_stays_down_costs_its_engines_if_others_can_take_them() {
    let mut life = Life::ready(false);
    life.see(10, Observation::VpnLost);
    assert_eq!(life.see(10_000, Observation::Tick), []);
    life.rules.vpn_lost_grace = Some(Duration::from_secs(60));
    life.see(10_001, Observation::VpnBack);
    life.see(10_002, Observation::VpnLost);
    life.see(10_030, Observation::VpnLost);
    assert_eq!(life.see(10_061, Observation::Tick), []);
    let stop = Action::Stop(EndReason::VpnLost);
    assert_eq!(life.see(10_062, Observation::Tick), [stop]);
    assert_eq!(
        life.see(10_063, Observation::Ended),
        [removed(EndReason::VpnLost, true)]
    );
}

#[test]
fn a_new_port_replaces_the_forwarded_engine_only() {
    let mut follower = Life::ready(false);
    assert_eq!(follower.see(5, Observation::PortChanged), []);
    let mut leader = Life::ready(true);
    let stop = Action::Stop(EndReason::PortChanged);
    assert_eq!(leader.see(5, Observation::PortChanged), [Action::Hide]);
    assert_eq!(leader.used(5, 0), [stop]);
    assert_eq!(
        leader.see(6, Observation::Ended),
        [removed(EndReason::PortChanged, true)]
    );
    let mut early = Life::new(true);
    assert_eq!(early.see(5, Observation::PortChanged), [stop]);
}

#[test]
fn a_network_made_anew_costs_every_engine_in_it() {
    let mut life = Life::ready(false);
    life.used(2, 2);
    let stop = Action::Stop(EndReason::NetworkGone);
    assert_eq!(life.see(5, Observation::NetworkGone), [Action::Hide, stop]);
    assert_eq!(
        life.see(6, Observation::Ended),
        [removed(EndReason::NetworkGone, true)]
    );
}

#[test]
fn an_adopted_engine_has_to_prove_itself_in_the_time_that_its_vpn_leaves_it() {
    let epoch = Instant::now();
    let care = Care::adopted(false, epoch);
    let mut life = Life {
        care,
        rules: RULES,
        epoch,
    };
    life.see(1, Observation::VpnLost);
    assert_eq!(life.see(500, Observation::Tick), []);
    life.see(501, Observation::VpnBack);
    assert_eq!(life.see(560, Observation::Tick), []);
    assert_eq!(
        life.see(561, Observation::Tick),
        [Action::Stop(EndReason::NotReady)]
    );
    assert_eq!(
        life.see(562, Observation::Ended),
        [removed(EndReason::NotReady, true)]
    );
}

#[test]
fn an_engine_that_moves_ends_what_runs_on_it_and_is_replaced() {
    let mut life = Life::ready(false);
    life.used(4, 1);
    assert_eq!(life.see(5, Observation::Moved), [Action::Hide]);
    let stop = Action::Stop(EndReason::Rebalanced);
    assert_eq!(life.used(6, 0), [stop]);
    let gone = removed(EndReason::Rebalanced, true);
    assert_eq!(life.see(7, Observation::Ended), [gone]);
    // One that turned bad meanwhile goes its own way.
    let mut unhealthy = Life::unhealthy();
    assert_eq!(unhealthy.see(20, Observation::Moved), []);
}
