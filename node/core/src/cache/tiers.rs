//! How long each tier keeps.

use std::time::Duration;

use super::time::UnixMs;

/// How long each tier may keep what it has. All counted, none of them lengthens a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierTtls {
    /// Memory answers by itself for so long, then the tier beneath is asked.
    pub memory: Duration,
    /// Redis keeps for so long from the fetch on; `None` without Redis.
    pub redis: Option<Duration>,
    /// No node of the mesh uses what was fetched longer ago without asking the origin.
    pub mesh: Duration,
}

impl TierTtls {
    /// Until when a copy that memory took at `taken` answers by itself, of what was `fetched` from the origin then. It
    /// never outlives what it was taken from: the copy in Redis or, without Redis, that of the node that fetched it.
    pub fn memory_until(&self, taken: UnixMs, fetched: UnixMs) -> UnixMs {
        taken.after(self.memory).min(self.beneath_until(fetched))
    }

    /// Until when the tier beneath memory has what was `fetched` then.
    pub fn beneath_until(&self, fetched: UnixMs) -> UnixMs {
        fetched.after(self.redis.unwrap_or(self.memory).min(self.mesh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const FETCHED: UnixMs = UnixMs(1_000_000);

    fn ttls(memory: u64, redis: Option<u64>, mesh: u64) -> TierTtls {
        TierTtls {
            memory: secs(memory),
            redis: redis.map(secs),
            mesh: secs(mesh),
        }
    }

    #[test]
    fn memory_asks_beneath_after_its_time() {
        let ttls = ttls(300, Some(3_600), 86_400);
        let taken = FETCHED.after(secs(100));
        assert_eq!(ttls.memory_until(taken, FETCHED), taken.after(secs(300)));
    }

    #[test]
    fn a_copy_never_outlives_what_it_was_taken_from() {
        for redis in [None, Some(1), Some(500), Some(100_000)] {
            for memory in [0, 1, 300, 200_000] {
                for taken_after in [0, 1, 299, 90_000] {
                    let ttls = ttls(memory, redis, 86_400);
                    let taken = FETCHED.after(secs(taken_after));
                    let until = ttls.memory_until(taken, FETCHED);
                    assert!(until <= ttls.beneath_until(FETCHED));
                    assert!(until <= FETCHED.after(secs(redis.unwrap_or(memory))));
                    assert!(until <= FETCHED.after(secs(86_400)));
                }
            }
        }
    }

    #[test]
    fn without_redis_copies_on_other_nodes_end_with_the_first_one() {
        let ttls = ttls(300, None, 86_400);
        let copied = FETCHED.after(secs(299));
        assert_eq!(ttls.memory_until(copied, FETCHED), FETCHED.after(secs(300)));
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let ttls = TierTtls {
            memory: Duration::MAX,
            redis: None,
            mesh: Duration::MAX,
        };
        assert_eq!(ttls.memory_until(FETCHED, FETCHED), UnixMs::NEVER);
    }
}
