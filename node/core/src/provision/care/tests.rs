use std::time::Duration;

use super::*;

pub(super) const RULES: CareRules = CareRules {
    readiness_timeout: Duration::from_secs(60),
    failures_max: 3,
    unhealthy_grace: Duration::from_secs(60),
    in_use_patience: 3,
    recycle_after_uses: 0,
    outdated: false,
    drain_timeout: Duration::from_secs(600),
    vpn_lost_grace: None,
    stop_retry: Duration::from_secs(30),
};

/// An engine and the seconds since its beginning.
pub(super) struct Life {
    pub(super) care: Care,
    pub(super) rules: CareRules,
    pub(super) epoch: Instant,
}

impl Life {
    pub(super) fn new(forwarded: bool) -> Self {
        let epoch = Instant::now();
        Self {
            care: Care::starting(forwarded, epoch),
            rules: RULES,
            epoch,
        }
    }

    pub(super) fn ready(forwarded: bool) -> Self {
        let mut life = Self::new(forwarded);
        assert_eq!(life.see(0, Observation::Running), []);
        assert_eq!(life.see(1, Observation::ProbePassed), [Action::Publish]);
        life
    }

    pub(super) fn see(&mut self, seconds: u64, seen: Observation) -> Vec<Action> {
        let now = self.epoch + Duration::from_secs(seconds);
        self.care.observe(seen, &self.rules, now)
    }

    pub(super) fn used(&mut self, seconds: u64, in_flight: u32) -> Vec<Action> {
        self.see(seconds, Observation::Used { in_flight, uses: 7 })
    }

    /// Unhealthy since 12 s.
    pub(super) fn unhealthy() -> Self {
        let mut life = Self::ready(false);
        assert_eq!(life.see(10, Observation::ProbeFailed), []);
        assert_eq!(life.see(11, Observation::ProbeFailed), []);
        assert_eq!(life.see(12, Observation::ProbeFailed), [Action::Hide]);
        life
    }
}

pub(super) fn removed(reason: EndReason, replace: bool) -> Action {
    Action::Remove { reason, replace }
}

#[test]
fn an_engine_that_runs_gets_traffic_only_after_a_probe_passed() {
    let mut life = Life::new(false);
    assert_eq!(
        life.see(0, Observation::ProbePassed),
        [],
        "not even running"
    );
    assert_eq!(life.see(1, Observation::Running), []);
    assert_eq!(life.see(2, Observation::ProbeFailed), []);
    assert!(!life.care.is_published());
    assert_eq!(life.see(59, Observation::ProbePassed), [Action::Publish]);
    assert_eq!(life.see(60, Observation::ProbePassed), []);
    assert_eq!(life.see(600, Observation::Tick), []);
}

#[test]
fn an_engine_that_is_not_ready_in_time_is_stopped_and_left_to_its_job() {
    let mut life = Life::new(false);
    assert_eq!(life.see(59, Observation::Tick), []);
    let stop = Action::Stop(EndReason::NotReady);
    assert_eq!(life.see(60, Observation::Tick), [stop]);
    assert_eq!(life.see(61, Observation::ProbePassed), [], "too late");
    assert_eq!(life.see(89, Observation::Tick), []);
    assert_eq!(life.see(90, Observation::Tick), [stop], "asked again");
    let gone = removed(EndReason::NotReady, false);
    assert_eq!(life.see(91, Observation::Ended), [gone]);
    assert_eq!(life.see(92, Observation::Ended), [], "removed once");
}

#[test]
fn only_failures_in_a_row_take_an_engine_out_and_one_good_probe_brings_it_back() {
    let mut life = Life::ready(false);
    for n in 0..20 {
        assert_eq!(life.see(10 + 3 * n, Observation::ProbeFailed), []);
        assert_eq!(life.see(11 + 3 * n, Observation::ProbeFailed), []);
        assert_eq!(life.see(12 + 3 * n, Observation::ProbePassed), []);
    }
    let mut life = Life::unhealthy();
    assert_eq!(life.see(40, Observation::ProbePassed), [Action::Publish]);
    assert_eq!(life.see(100, Observation::Tick), []);
}

#[test]
fn an_unhealthy_engine_asks_to_be_replaced_after_its_grace_and_goes_when_it_is_granted() {
    let mut life = Life::unhealthy();
    assert_eq!(life.see(71, Observation::Tick), []);
    assert_eq!(
        life.see(71, Observation::ReplacementGranted),
        [],
        "not asked"
    );
    let replace = Action::Replace(EndReason::Unhealthy);
    assert_eq!(life.see(72, Observation::Tick), [replace]);
    assert_eq!(life.see(73, Observation::Tick), [replace], "until granted");
    let stop = Action::Stop(EndReason::Unhealthy);
    assert_eq!(life.see(74, Observation::ReplacementGranted), [stop]);
    let gone = removed(EndReason::Unhealthy, true);
    assert_eq!(life.see(75, Observation::Ended), [gone]);
}

#[test]
fn an_engine_in_use_is_given_more_time() {
    let mut life = Life::ready(false);
    life.used(2, 1);
    for n in 1..9 {
        assert_eq!(
            life.see(10 + n, Observation::ProbeFailed),
            [],
            "failure {n}"
        );
    }
    assert_eq!(life.see(20, Observation::ProbeFailed), [Action::Hide]);
    assert_eq!(life.see(199, Observation::Tick), []);
    let replace = Action::Replace(EndReason::Unhealthy);
    assert_eq!(life.see(200, Observation::Tick), [replace]);
    // What ran on it has ended: no reason for more patience.
    let mut life = Life::ready(false);
    life.used(2, 1);
    (0..5).for_each(|n| assert_eq!(life.see(10 + n, Observation::ProbeFailed), []));
    life.used(16, 0);
    assert_eq!(life.see(17, Observation::ProbeFailed), [Action::Hide]);
}

#[test]
fn an_engine_that_ends_by_itself_is_replaced() {
    let mut life = Life::ready(false);
    let gone = removed(EndReason::Ended, true);
    assert_eq!(life.see(5, Observation::Ended), [Action::Hide, gone]);
    // Before it was ready its job is not done, and the job's attempts are the way to try again.
    let mut life = Life::new(false);
    life.see(0, Observation::Running);
    assert_eq!(
        life.see(5, Observation::Ended),
        [removed(EndReason::Ended, false)]
    );
}

#[test]
fn a_drain_ends_with_what_runs_or_at_its_deadline() {
    let mut life = Life::ready(false);
    life.used(2, 2);
    assert_eq!(life.see(10, Observation::DrainAsked), [Action::Hide]);
    assert_eq!(life.see(11, Observation::ProbePassed), []);
    assert_eq!(life.used(12, 1), []);
    let stop = Action::Stop(EndReason::Asked);
    assert_eq!(life.used(13, 0), [stop]);
    assert_eq!(
        life.see(14, Observation::Ended),
        [removed(EndReason::Asked, false)]
    );
    let mut life = Life::ready(false);
    life.used(2, 2);
    assert_eq!(life.see(10, Observation::DrainAsked), [Action::Hide]);
    assert_eq!(
        life.see(600, Observation::DrainAsked),
        [],
        "asking again gives no more time"
    );
    assert_eq!(life.see(609, Observation::Tick), []);
    assert_eq!(life.see(610, Observation::Tick), [stop]);
}

#[test]
fn a_stop_waits_for_nothing_and_wins_over_replacement() {
    let mut life = Life::ready(true);
    life.used(2, 2);
    assert_eq!(life.see(3, Observation::PortChanged), [Action::Hide]);
    let stop = Action::Stop(EndReason::Asked);
    assert_eq!(life.see(4, Observation::StopAsked), [stop]);
    life.see(5, Observation::NetworkGone);
    assert_eq!(
        life.see(6, Observation::Ended),
        [removed(EndReason::Asked, false)]
    );
}

#[test]
fn an_engine_is_recycled_after_its_uses_by_a_drain() {
    let mut life = Life::ready(false);
    life.used(5, 1);
    assert_eq!(life.see(6, Observation::Tick), [], "0 is never");
    life.rules.recycle_after_uses = 7;
    let replace = Action::Replace(EndReason::Recycled);
    assert_eq!(life.see(7, Observation::Tick), [replace]);
    assert!(life.care.is_published(), "until it is its turn");
    assert_eq!(life.see(8, Observation::ReplacementGranted), [Action::Hide]);
    assert_eq!(life.used(9, 0), [Action::Stop(EndReason::Recycled)]);
}

#[test]
fn an_outdated_engine_asks_to_be_replaced_as_long_as_it_is_one_and_is_drained() {
    let mut life = Life::ready(false);
    life.rules.outdated = true;
    life.rules.recycle_after_uses = 7;
    life.used(5, 1);
    let replace = Action::Replace(EndReason::Outdated);
    assert_eq!(life.see(6, Observation::Tick), [replace], "not as used up");
    life.rules.outdated = false;
    life.rules.recycle_after_uses = 0;
    assert_eq!(life.see(7, Observation::ReplacementGranted), []);
    assert_eq!(life.see(7, Observation::Tick), []);
    life.rules.outdated = true;
    assert_eq!(life.see(8, Observation::ReplacementGranted), [Action::Hide]);
    assert_eq!(life.used(9, 0), [Action::Stop(EndReason::Outdated)]);
    let mut unhealthy = Life::unhealthy();
    unhealthy.rules.outdated = true;
    assert_eq!(
        unhealthy.see(71, Observation::Tick),
        [],
        "its grace is its own"
    );
}

#[test]
fn one_that_leaves_traffic_is_stopped_when_it_is_known_that_nothing_came_meanwhile() {
    let mut life = Life::ready(false);
    life.used(2, 0);
    assert_eq!(life.see(3, Observation::DrainAsked), [Action::Hide]);
    assert_eq!(
        life.see(3, Observation::Tick),
        [],
        "the last look was before"
    );
    assert_eq!(life.used(4, 1), []);
    assert_eq!(life.used(5, 0), [Action::Stop(EndReason::Asked)]);
    let mut out_of_traffic = Life::unhealthy();
    let stop = Action::Stop(EndReason::Asked);
    assert_eq!(out_of_traffic.see(13, Observation::DrainAsked), [stop]);
}

#[test]
fn idle_is_told_from_when_the_last_use_ended() {
    let mut life = Life::ready(false);
    let at = |seconds| life.epoch + Duration::from_secs(seconds);
    let (began, ended) = (at(0), at(20));
    assert_eq!(life.care.idle_since(), Some(began));
    life.used(10, 1);
    assert_eq!(life.care.idle_since(), None);
    life.used(20, 0);
    life.used(30, 0);
    assert_eq!(life.care.idle_since(), Some(ended));
}
