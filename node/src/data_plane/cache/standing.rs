//! How the node stands that owns a key, as whoever asks it sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weir_core::cache::UnixMs;

use super::super::answer::Reason;

/// A node that cannot be reached is let alone for this long.
pub(super) const LET_ALONE_MS: u64 = 10_000;
/// So many requests that it leaves without an answer, none answered between them, and it counts as not to be reached.
/// One slow URL of many is no reason to take the node's other keys from it.
pub(super) const SILENT_MAX: u32 = 5;

/// How one node stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    away_until_ms: AtomicU64,
    silent_in_a_row: AtomicU32,
}

impl Standing {
    /// Whether it is let alone.
    pub(super) fn is_away(&self, now: UnixMs) -> bool {
        now.0 < self.away_until_ms.load(Ordering::Relaxed)
    }

    /// It answered.
    pub(super) fn answered(&self) {
        self.silent_in_a_row.store(0, Ordering::Relaxed);
    }

    /// It did not answer; whether it is let alone from now on.
    pub(super) fn failed(&self, why: Reason, now: UnixMs) -> bool {
        let is_away = match why {
            Reason::ConnectFailed | Reason::ConnectTimeout => true,
            // This node itself has no room for the question.
            Reason::PoolFull | Reason::OutOfDescriptors => false,
            _ => self.silent_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_MAX,
        };
        if is_away {
            self.away_until_ms
                .store(now.0 + LET_ALONE_MS, Ordering::Relaxed);
            self.silent_in_a_row.store(0, Ordering::Relaxed);
        }
        is_away
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
            assert!(node.failed(why, NOW));
            assert!(node.is_away(UnixMs(10_004)) && !node.is_away(UnixMs(10_005)));
        }
    }

    #[test]
    fn one_slow_answer_takes_no_other_key_from_a_node_and_several_in_a_row_do() {
        let node = Standing::default();
        for _ in 0..3 {
            for _ in 1..SILENT_MAX {
                assert!(!node.failed(Reason::ReadTimeout, NOW));
                assert!(!node.is_away(NOW));
            }
            node.answered();
        }
        for failed in 1..=SILENT_MAX {
            let is_away = node.failed(Reason::BackendReset, NOW);
            assert_eq!(is_away, failed == SILENT_MAX, "{failed}");
        }
        assert!(node.is_away(NOW));
    }

    #[test]
    fn what_this_node_has_no_room_for_is_no_fault_of_the_other() {
        let node = Standing::default();
        for _ in 0..=SILENT_MAX {
            assert!(!node.failed(Reason::PoolFull, NOW));
        }
        assert!(!node.is_away(NOW));
    }
}
