//! Jobs that start engines.

use super::declare::*;

knobs! {
    CONCURRENT_MAX = "provision.concurrent_max", Kind::Count(1, 1000),
        Literal::Count(5), ApplyClass::Hot,
        "Provisions in flight on one node.";
    INTERVAL_MIN = "provision.interval_min", Kind::Duration(millis(0), secs(60)),
        Literal::Duration(millis(500)), ApplyClass::Hot,
        "Between the starts of two provisions.";
    QUEUE_MAX = "provision.queue_max", Kind::Count(0, 1_000_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Requests that may wait.";
    SOFT_LIMIT = "provision.soft_limit", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(270)), ApplyClass::Hot,
        "After this a provision is asked to end.";
    HARD_LIMIT = "provision.hard_limit", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "After this a provision is ended.";
    ATTEMPTS_MAX = "provision.attempts_max", Kind::Count(1, 100),
        Literal::Count(3), ApplyClass::Hot,
        "Tries of one job.";
    RETRY_DELAY = "provision.retry_delay", Kind::Duration(millis(100), secs(86_400)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "Before the second try; doubles with each.";
    RETRY_DELAY_MAX = "provision.retry_delay_max", Kind::Duration(millis(100), secs(86_400)),
        Literal::Duration(secs(600)), ApplyClass::Hot,
        "Longest wait before a try.";
    PREFETCH = "provision.prefetch", Kind::Count(1, 100),
        Literal::Count(1), ApplyClass::Hot,
        "Jobs that a node claims ahead.";
    JOBS_PER_WORKER_MAX = "provision.jobs_per_worker_max", Kind::Count(1, 10_000_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Jobs after which a worker process is replaced.";
}
