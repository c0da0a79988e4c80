//! The spans of a fetch: whom it asked.

use tokio::time::Instant;

use super::super::super::trace::{Fact, RequestTrace};
use super::Fetch;

impl Fetch {
    /// Redis was asked.
    pub(super) fn note_redis(&self, begun: Instant, is_hit: bool) {
        if let Some(trace) = &self.trace {
            let step = trace.step("cache.redis", begun);
            let outcome = if is_hit { "hit" } else { "miss" };
            trace.tell(step, Fact::Text("weir.cache.tier", "l2"));
            trace.tell(step, Fact::Text("weir.cache.outcome", outcome));
        }
    }

    /// Its part of the trace, down to whoever is asked.
    pub(super) fn asking(&self, peer: bool, started: Instant) -> Option<RequestTrace> {
        let name = if peer { "cache.peer" } else { "cache.origin" };
        let part = self.trace.as_ref()?.branch(name, started);
        if peer {
            part.fact(Fact::Text("weir.cache.tier", "peer"));
        }
        Some(part)
    }
}
