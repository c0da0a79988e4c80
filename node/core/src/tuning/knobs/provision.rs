//! Jobs that start engines.

use super::declare::*;

knobs! {
    CONCURRENT_MAX = "provision.concurrent_max", Kind::Count(1, 1000),
        Literal::Count(5), ApplyClass::Hot,
        "Provisions in flight on one node.";
    INTERVAL_MIN = "provision.interval_min", Kind::Duration(millis(0), secs(60)),
        Literal::Duration(millis(500)), ApplyClass::Hot,
        "Between the starts of two provisions.";
    QUEUE_MAX = "provision.queue_max", Kind::Count(0, 10_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Jobs that may be open in the whole mesh, waiting or under way; one more wish is refused.";
    SOFT_LIMIT = "provision.soft_limit", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(270)), ApplyClass::Hot,
        "After this a provision is asked to end: it stops what it began, and is tried again.";
    HARD_LIMIT = "provision.hard_limit", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "After this a provision is cut, whatever it does.";
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
    USES_MAX = "provision.uses_max", Kind::Count(0, 10_000_000),
        Literal::Count(0), ApplyClass::Hot,
        "Requests after which an engine is replaced; 0 for never.";
    FLEET_CONCURRENT_MAX = "provision.fleet_concurrent_max", Kind::Count(0, 1000),
        Literal::Count(0), ApplyClass::Hot,
        "Provisions in flight in the whole mesh; 0 for no bound.";
    FLEET_INTERVAL_MIN = "provision.fleet_interval_min", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(millis(0)), ApplyClass::Hot,
        "Between the starts of two jobs in the whole mesh; 0 for no bound.";
    BREAKER_FAILURES = "provision.breaker_failures", Kind::Count(1, 1000),
        Literal::Count(5), ApplyClass::Hot,
        "Failures within the window after which nothing is provisioned for a time.";
    BREAKER_WINDOW = "provision.breaker_window", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "Within which failures are counted together.";
    BREAKER_RECOVERY = "provision.breaker_recovery", Kind::Duration(millis(100), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "For how long nothing is provisioned then; after it one provision is tried.";
}
