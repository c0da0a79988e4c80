//! What one core counts of the cache.

use weir_core::cache::NotStored;

use super::counters::Counter;

/// What became of a request to a route with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// Answered from the cache, fresh.
    Hit,
    /// Answered from the tier in Redis, fresh.
    HitInRedis,
    /// Answered by the node that owns the key, which had it.
    HitAtPeer,
    /// Answered from the cache, stale by leave of origin or client.
    Stale,
    /// Answered from the cache because the origin failed.
    StaleIfError,
    /// Answered from the cache after the origin said that it is still good.
    Revalidated,
    /// Answered by a fetch that somebody else had begun.
    Collapsed,
    /// Answered by a fetch of its own.
    Miss,
    /// Sent to the origin for this client alone, since the answer could not be shared.
    Alone,
    /// None of the cache's business.
    PassedBy,
    /// The client wanted no request to the origin.
    OnlyIfCached,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 11] = [
        Self::Hit,
        Self::HitInRedis,
        Self::HitAtPeer,
        Self::Stale,
        Self::StaleIfError,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::Alone,
        Self::PassedBy,
        Self::OnlyIfCached,
    ];

    /// As metrics and traces name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::HitInRedis => "hit_redis",
            Self::HitAtPeer => "hit_peer",
            Self::Stale => "stale",
            Self::StaleIfError => "stale_if_error",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Alone => "alone",
            Self::PassedBy => "passed_by",
            Self::OnlyIfCached => "only_if_cached",
        }
    }

    /// Which tier had it, if one did.
    pub const fn tier(self) -> Option<&'static str> {
        match self {
            Self::Hit | Self::Stale | Self::StaleIfError | Self::Revalidated => Some("l1"),
            Self::HitInRedis => Some("l2"),
            Self::HitAtPeer => Some("peer"),
            _ => None,
        }
    }
}

/// Why something is fetched before anybody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum WarmSource {
    /// The list of the configuration, at the start.
    Start,
    /// What was asked for most before the start.
    Hot,
    /// It is asked for often and ends soon.
    Predictive,
    /// A schedule.
    Schedule,
    /// Somebody said so.
    Order,
}

impl WarmSource {
    /// Every source.
    pub const ALL: [Self; 5] = [
        Self::Start,
        Self::Hot,
        Self::Predictive,
        Self::Schedule,
        Self::Order,
    ];

    /// As metrics, traces and events name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Hot => "hot",
            Self::Predictive => "predictive",
            Self::Schedule => "schedule",
            Self::Order => "order",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum WarmOutcome {
    /// It was fetched and is kept.
    Kept,
    /// It was there, and is fresh for long enough.
    Fresh,
    /// It was fetched, or could be, and is not kept.
    NotKept,
    /// It could not be fetched.
    Failed,
}

impl WarmOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Fresh, Self::NotKept, Self::Failed];

    /// As metrics, traces and answers name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Fresh => "fresh",
            Self::NotKept => "not_kept",
            Self::Failed => "failed",
        }
    }
}

/// Why the node that owns a key was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PeerFailure {
    /// It did not answer.
    NoAnswer,
    /// It said why it has no answer, or answered for another key.
    Refused,
    /// Its answer broke off.
    BrokeOff,
    /// It was not asked, because its answers for this key broke off before.
    LetAlone,
}

impl PeerFailure {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::NoAnswer,
        Self::Refused,
        Self::BrokeOff,
        Self::LetAlone,
    ];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::BrokeOff => "broke_off",
            Self::LetAlone => "let_alone",
        }
    }
}

/// What one core counts of the cache.
#[derive(Debug, Default)]
pub struct CacheCoreMetrics {
    warmed: [[Counter; WarmOutcome::ALL.len()]; WarmSource::ALL.len()],
    requests: [Counter; Outcome::ALL.len()],
    not_stored: [Counter; NotStored::ALL.len()],
    peers_failed: [Counter; PeerFailure::ALL.len()],
    /// Responses stored.
    pub stores: Counter,
    /// Fetches beside an answer.
    pub refreshes: Counter,
    /// Bodies that broke off while they were being stored.
    pub fills_broken: Counter,
    /// Fetches that were given up because nobody wanted them and too many went on for nobody.
    pub fetches_given_up: Counter,
    /// Values in Redis that were damaged, or that today's rules would not store.
    pub redis_unusable: Counter,
    /// Keys made invalid by unsafe requests.
    pub invalidated: Counter,
}

impl CacheCoreMetrics {
    /// Requests with that outcome.
    pub fn requests(&self, outcome: Outcome) -> &Counter {
        &self.requests[outcome as usize]
    }

    /// What was fetched before anybody asked for it.
    pub fn warmed(&self, source: WarmSource, outcome: WarmOutcome) -> &Counter {
        &self.warmed[source as usize][outcome as usize]
    }

    /// Nodes that own a key and were of no use, for that reason.
    pub fn peers_failed(&self, why: PeerFailure) -> &Counter {
        &self.peers_failed[why as usize]
    }

    /// Responses that were not stored for that reason.
    pub fn not_stored(&self, why: NotStored) -> &Counter {
        &self.not_stored[why as usize]
    }
}
