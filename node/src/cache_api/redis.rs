//! How the tier in Redis does.

use weir_cache::redis::L2State;
use weir_proto::node::v1 as pb;

use super::CacheApi;

impl CacheApi {
    /// `None` without one.
    pub(super) fn redis(&self) -> Option<pb::CacheRedis> {
        let namespace = self.store().l2()?;
        let tier = namespace.tier();
        let (state, problem) = in_words(&tier.state().borrow());
        let counters = tier.counters();
        let ping = tier.ping().unwrap_or_default();
        Some(pb::CacheRedis {
            state: state.to_owned(),
            problem,
            hits: counters.hits.get(),
            misses: counters.misses.get(),
            skipped: counters.away.get() + counters.busy.get(),
            timeouts: counters.failed_late.get(),
            errors: counters.errors(),
            unusable: self.sum(|core| &core.redis_unusable),
            writes: counters.puts.get(),
            writes_dropped: counters.puts_dropped.get(),
            queued_bytes: tier.queue_bytes() as u64,
            opened: counters.opened.get(),
            ping_us: u64::try_from(ping.as_micros()).unwrap_or(u64::MAX),
        })
    }
}

fn in_words(state: &L2State) -> (&'static str, String) {
    match state {
        L2State::Connecting => ("connecting", String::new()),
        L2State::Up => ("up", String::new()),
        L2State::Away(outage) => ("away", outage.to_string()),
    }
}
