//! How the node stands that owns a key, as whoever asks it sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weir_core::cache::UnixMs;

use super::super::answer::Reason;

/// A node that cannot be reached is let alone for this long.
pub(super) const LET_ALONE_MS: u64 = 10_000;
/// So many questions that it breaks off, none answered between them, and it counts as not to be reached. One bad URL of
/// many is no reason to take the node's other keys from it.
pub(super) const BROKEN_MAX: u32 = 5;

/// How one node stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// 0: it is there.
    away_until_ms: AtomicU64,
    answered_at_ms: AtomicU64,
    broken_in_a_row: AtomicU32,
}

impl Standing {
    /// Whether to ask it. Once it was let alone for long enough this says so to one, whose question shows whether it is
    /// back, while others go on to let it alone.
    pub(super) fn begin_question(&self, now: UnixMs) -> bool {
        let until = self.away_until_ms.load(Ordering::Relaxed);
        until == 0 || (now.0 >= until && self.let_alone_from(until, now))
    }

    /// It answered.
    pub(super) fn answered(&self, now: UnixMs) {
        self.answered_at_ms.store(now.0, Ordering::Relaxed);
        self.broken_in_a_row.store(0, Ordering::Relaxed);
        if self.away_until_ms.load(Ordering::Relaxed) != 0 {
            self.away_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// It did not answer what it was asked at that time; whether it is let alone from now on. One that says nothing to
    /// anybody until a question is given up hangs; one that answers others meanwhile has a slow origin.
    pub(super) fn failed(&self, why: Reason, asked_at: UnixMs, now: UnixMs) -> bool {
        let is_away = match why {
            Reason::ConnectFailed | Reason::ConnectTimeout => true,
            // This node itself has no room for the question.
            Reason::PoolFull | Reason::OutOfDescriptors => false,
            Reason::ReadTimeout => self.answered_at_ms.load(Ordering::Relaxed) < asked_at.0,
            _ => self.broken_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= BROKEN_MAX,
        };
        if is_away {
            self.broken_in_a_row.store(0, Ordering::Relaxed);
            self.away_until_ms
                .store(now.0 + LET_ALONE_MS, Ordering::Relaxed);
        }
        is_away
    }

    /// Whether this is the one that changes until when.
    fn let_alone_from(&self, until: u64, now: UnixMs) -> bool {
        let next = now.0 + LET_ALONE_MS;
        let order = Ordering::Relaxed;
        let swapped = self
            .away_until_ms
            .compare_exchange(until, next, order, order);
        swapped.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(5);

    #[test]
    fn a_node_that_takes_no_connection_is_let_alone_for_10_seconds() {
        for why in [Reason::ConnectFailed, Reason::ConnectTimeout] {
            let node = Standing::default();
            assert!(node.failed(why, NOW, NOW));
            assert!(!node.begin_question(UnixMs(10_004)));
            assert!(node.begin_question(UnixMs(10_005)));
        }
    }

    #[test]
    fn one_question_shows_whether_a_node_is_back() {
        let node = Standing::default();
        assert!(node.failed(Reason::ConnectFailed, NOW, NOW));
        let back = UnixMs(10_005);
        assert!(node.begin_question(back));
        assert!(!node.begin_question(back), "another one asks");
        // Whoever asked left; somebody else asks in time.
        assert!(node.begin_question(UnixMs(20_005)));
        node.answered(UnixMs(20_006));
        assert!(node.begin_question(UnixMs(20_006)) && node.begin_question(UnixMs(20_006)));
    }

    #[test]
    fn a_node_that_answers_nobody_until_a_question_is_given_up_is_let_alone() {
        let node = Standing::default();
        node.answered(UnixMs(1_000));
        assert!(node.failed(Reason::ReadTimeout, UnixMs(1_001), UnixMs(6_001)));
        assert!(!node.begin_question(UnixMs(6_001)));
    }

    #[test]
    fn a_slow_answer_takes_no_other_key_from_a_node_that_answers_others() {
        let node = Standing::default();
        for asked_at in 1_000..1_020 {
            node.answered(UnixMs(asked_at + 5_000));
            assert!(!node.failed(Reason::ReadTimeout, UnixMs(asked_at), UnixMs(6_001)));
            assert!(node.begin_question(UnixMs(6_001)));
        }
    }

    #[test]
    fn one_that_breaks_off_takes_no_other_key_from_a_node_and_several_in_a_row_do() {
        let node = Standing::default();
        for _ in 0..3 {
            for _ in 1..BROKEN_MAX {
                assert!(!node.failed(Reason::BackendReset, NOW, NOW));
                assert!(node.begin_question(NOW));
            }
            node.answered(NOW);
        }
        for failed in 1..=BROKEN_MAX {
            let is_away = node.failed(Reason::BackendReset, NOW, NOW);
            assert_eq!(is_away, failed == BROKEN_MAX, "{failed}");
        }
        assert!(!node.begin_question(NOW));
    }

    #[test]
    fn what_this_node_has_no_room_for_is_no_fault_of_the_other() {
        let node = Standing::default();
        for _ in 0..=BROKEN_MAX {
            assert!(!node.failed(Reason::PoolFull, NOW, NOW));
        }
        assert!(node.begin_question(NOW));
    }
}
