//! Ports that a VPN forwards.

use super::declare::*;

knobs! {
    TTL = "port_cache.ttl", Kind::Duration(secs(1), secs(3600)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "How long a port is believed.";
    REFRESH_LEAD = "port_cache.refresh_lead", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(secs(10)), ApplyClass::Hot,
        "How long before its end it is asked for again.";
    WATCH_INTERVAL = "port_cache.watch_interval", Kind::Duration(secs(1), secs(3600)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "Most time between two questions for the port of a VPN that does not tell of a new one itself.";
    STALE_MAX = "port_cache.stale_max", Kind::Duration(millis(0), secs(86_400)),
        Literal::Duration(secs(600)), ApplyClass::Hot,
        "How long the last good port is served while nobody answers.";
    NEGATIVE_TTL = "port_cache.negative_ttl", Kind::Duration(millis(100), secs(60)),
        Literal::Duration(secs(2)), ApplyClass::Hot,
        "How long a failure is believed.";
    REQUEST_TIMEOUT = "port_cache.request_timeout", Kind::Duration(millis(100), secs(60)),
        Literal::Duration(secs(5)), ApplyClass::Hot,
        "For one call of a VPN's control server.";
    HEALTH_INTERVAL = "port_cache.health_interval", Kind::Duration(millis(100), secs(3600)),
        Literal::Duration(secs(5)), ApplyClass::Hot,
        "Between two looks at a VPN.";
    HEALTH_RISE = "port_cache.health_rise", Kind::Count(1, 100),
        Literal::Count(3), ApplyClass::Hot,
        "Good looks in a row that make a VPN stable.";
    HEALTH_FALL = "port_cache.health_fall", Kind::Count(1, 100),
        Literal::Count(2), ApplyClass::Hot,
        "Bad looks in a row that make it unhealthy.";
    MISSING_MAX = "port_cache.missing_max", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(120)), ApplyClass::Hot,
        "How long a healthy VPN may be without a port before that is an alarm.";
    CHANGES_MAX = "port_cache.changes_max", Kind::Count(1, 1000),
        Literal::Count(3), ApplyClass::Hot,
        "Changes of a port within the window; with more it flaps: an alarm, and nothing is replaced for it.";
    CHANGES_WINDOW = "port_cache.changes_window", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(600)), ApplyClass::Hot,
        "Within which changes of a port are counted together.";
    RESTART_QUIET = "port_cache.restart_quiet", Kind::Duration(millis(0), secs(600)),
        Literal::Duration(secs(15)), ApplyClass::Hot,
        "How long a VPN is not asked after its container was restarted because of an outage.";
    RESTART_SETTLE = "port_cache.restart_settle", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "A new port so soon after a VPN was lost or restarted belongs to that.";
}
