//! Who gets new work. What a service's own file section says wins.

use super::declare::*;

knobs! {
    POLICY = "balancer.policy",
        Kind::Choice(&["peak_ewma", "least_connections", "round_robin", "random", "consistent_hash"]),
        Literal::Choice("peak_ewma"), ApplyClass::Hot,
        "How a backend is chosen.";
    BOUNDED_LOAD_PERCENT = "balancer.bounded_load_percent", Kind::Percent(101, 1000),
        Literal::Percent(125), ApplyClass::Hot,
        "Most requests in flight on one backend under consistent hashing, of its fair share.";
    STICKY_TTL = "balancer.sticky_ttl", Kind::Duration(secs(1), secs(2_592_000)),
        Literal::Duration(secs(3600)), ApplyClass::Hot,
        "How long a sticky cookie keeps a client on its backend.";
    PANIC_PERCENT = "balancer.panic_percent", Kind::Percent(0, 100),
        Literal::Percent(50), ApplyClass::Hot,
        "Share of healthy backends below which all are tried.";
    DRAIN_TIMEOUT = "balancer.drain_timeout", Kind::Duration(millis(0), secs(86_400)),
        Literal::Duration(secs(30)), ApplyClass::Hot,
        "How long a draining backend may finish what it has.";
    HEALTH_INTERVAL = "balancer.health_interval", Kind::Duration(millis(10), secs(3600)),
        Literal::Duration(secs(5)), ApplyClass::Hot,
        "From the start of one check of a backend to the next.";
    HEALTH_TIMEOUT = "balancer.health_timeout", Kind::Duration(millis(10), secs(3600)),
        Literal::Duration(secs(2)), ApplyClass::Hot,
        "How long a check may take.";
    HEALTH_RISE = "balancer.health_rise", Kind::Count(1, 100),
        Literal::Count(2), ApplyClass::Hot,
        "Good checks in a row that bring a backend back.";
    HEALTH_FALL = "balancer.health_fall", Kind::Count(1, 100),
        Literal::Count(3), ApplyClass::Hot,
        "Failed checks in a row that take a backend out.";
    EJECTION_CONSECUTIVE_FAILURES = "balancer.ejection_consecutive_failures", Kind::Count(0, 10_000),
        Literal::Count(3), ApplyClass::Hot,
        "Failures in a row of real requests that eject a backend; 0 never ejects.";
    EJECTION_BASE_TIME = "balancer.ejection_base_time", Kind::Duration(millis(10), secs(86_400)),
        Literal::Duration(secs(30)), ApplyClass::Hot,
        "How long the first ejection lasts.";
    EJECTION_MAX_TIME = "balancer.ejection_max_time", Kind::Duration(millis(10), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "How long an ejection lasts at most.";
    EJECTED_PERCENT_MAX = "balancer.ejected_percent_max", Kind::Percent(0, 100),
        Literal::Percent(10), ApplyClass::Hot,
        "Share of backends that may be ejected; one of two or more always may.";
    SLOW_START_WINDOW = "balancer.slow_start_window", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(millis(0)), ApplyClass::Hot,
        "How long a new or returning backend ramps up; 0 gives its whole share at once.";
    SLOW_START_MIN_PERCENT = "balancer.slow_start_min_percent", Kind::Percent(1, 100),
        Literal::Percent(10), ApplyClass::Hot,
        "Share that a ramp begins with.";
}
