//! What happened to an entry.

/// What happened to an entry since it was made. None of these falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Look-ups answered from what was known, failures and missing ports included.
    pub hits: u64,
    /// Look-ups that had to wait for an answer.
    pub misses: u64,
    /// Questions not asked because one was out already.
    pub coalesced: u64,
    /// Questions to the VPN's control server.
    pub upstream_calls: u64,
    /// Questions to the node that asks for all.
    pub owner_calls: u64,
    /// Answers dropped: from before an invalidation, or overtaken.
    pub stale_replies_dropped: u64,
    /// Look-ups answered with a port past its time, because the control server was out; these are hits too.
    pub stale_served: u64,
    /// Invalidations.
    pub invalidations: u64,
}

impl Counters {
    /// Look-ups.
    pub const fn look_ups(&self) -> u64 {
        self.hits + self.misses
    }

    /// Calls of the control server that would have been made without a cache, one a look-up, and were not.
    pub const fn calls_saved(&self) -> u64 {
        self.look_ups().saturating_sub(self.upstream_calls)
    }
}
