//! What is said of jobs.

use std::time::Duration;

use weir_proto::control::v1 as pb;

pub use pb::{Job, JobHolder as Holder, JobSpec as Spec, JobState as State, JobTicket as Ticket};

/// The queue of those who did not choose one.
pub const DEFAULT_QUEUE: &str = "engines";
/// Largest [`Spec::payload`].
pub const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// Longest [`Spec::trace_context`].
pub const TRACE_BYTES_MAX: usize = 128;
/// Longest result, and what is kept of an error.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// The priority that comes last; 0 comes first.
pub const PRIORITY_MAX: u32 = 9;

/// A job to add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewJob {
    /// Where.
    pub queue: String,
    /// Its name, so that it is added once however often it is sent; `None`: [`JobQueue::enqueue`](super::JobQueue)
    /// names it.
    pub job_id: Option<String>,
    /// Of the open jobs only one has this key.
    pub idempotency_key: String,
    /// What is to be done.
    pub spec: Spec,
    /// 0 (first) to [`PRIORITY_MAX`].
    pub priority: u32,
    /// The earliest start, in ms since 1970; 0 for now.
    pub not_before_unix_ms: u64,
    /// How often, and how far apart.
    pub limits: Limits,
    /// It is refused when the queue has so many open jobs, or as many as the store keeps; `None`: only then.
    pub queue_max: Option<u64>,
}

/// How often a job is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// 1 to 1,000.
    pub attempts_max: u32,
    /// After the first failure, doubled after each, within a tenth.
    pub retry_delay: Duration,
    /// Longest such wait.
    pub retry_delay_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            retry_delay: Duration::from_secs(60),
            retry_delay_max: Duration::from_secs(600),
        }
    }
}

impl From<Limits> for pb::JobLimits {
    fn from(limits: Limits) -> Self {
        let in_ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            attempts_max: Some(limits.attempts_max),
            retry_delay_ms: Some(in_ms(limits.retry_delay)),
            retry_delay_max_ms: Some(in_ms(limits.retry_delay_max)),
        }
    }
}

/// What is not said is the default.
impl From<pb::JobLimits> for Limits {
    fn from(limits: pb::JobLimits) -> Self {
        let standard = Self::default();
        let or = |ms: Option<u64>, standard| ms.map_or(standard, Duration::from_millis);
        Self {
            attempts_max: limits.attempts_max.unwrap_or(standard.attempts_max),
            retry_delay: or(limits.retry_delay_ms, standard.retry_delay),
            retry_delay_max: or(limits.retry_delay_max_ms, standard.retry_delay_max),
        }
    }
}

/// The bounds of a job's attempts.
pub(super) fn limits_of(job: &Job) -> Limits {
    job.limits.unwrap_or_default().into()
}

/// What became of a job to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The job, or the open one with the same idempotency key.
    pub job_id: String,
    /// It was there before; nothing was added.
    pub already: bool,
}

/// Who wants a job, and within which bounds of the whole fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Want {
    /// Of this queue.
    pub queue: String,
    /// For this process.
    pub holder: Holder,
    /// Only of these services; empty for all.
    pub services: Vec<String>,
    /// Claimed at a time by all together; 0 for any number.
    pub fleet_concurrent_max: u32,
    /// Between two starts of all together; zero for none.
    pub fleet_interval_min: Duration,
}

/// A job that is the caller's for as long as it is extended.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What it is known by, with its fence.
    pub ticket: Ticket,
    /// What is to be done.
    pub spec: Spec,
    /// 1 for the first.
    pub attempt: u32,
    /// After this many the job is dead.
    pub attempts_max: u32,
    /// How long it lives without being extended, from before it was asked for.
    pub ttl: Duration,
}

/// What became of a job whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again then, in ms since 1970.
    RetryAt(u64),
    /// It is not tried again.
    Dead,
}

/// Something that is one process's alone, for as long as it is extended.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// In the keys of this queue.
    pub queue: String,
    /// What is held.
    pub name: String,
    /// By whom.
    pub holder: Holder,
    /// Higher than that of each hold of this name before.
    pub fence: u64,
    /// How long it lives without being extended.
    pub ttl: Duration,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobList {
    /// Of this queue.
    pub queue: String,
    /// Only in these states; empty for all.
    pub states: Vec<State>,
    /// [`JobPage::next`] of the page before; empty for the first.
    pub after: String,
    /// 1 to 200.
    pub entries_max: usize,
}

/// Part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPage {
    /// Open ones, then dead ones, then ended ones; each by id, without payloads. May be few although more follow.
    pub jobs: Vec<Job>,
    /// Empty after the last page.
    pub next: String,
}
