//! The tiers of the cache.

use super::declare::*;

knobs! {
    L1_BYTES_MAX = "cache.l1_bytes_max", Kind::Bytes(1_048_576, 1_099_511_627_776),
        Literal::Bytes(2_147_483_648), ApplyClass::Hot,
        "Memory of the first tier; at most half of the machine's, a quarter unless told.";
    L1_TTL = "cache.l1_ttl", Kind::Duration(millis(0), secs(2_592_000)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "How long memory answers by itself before the tier beneath is asked.";
    L2_TTL = "cache.l2_ttl", Kind::Duration(millis(0), secs(2_592_000)),
        Literal::Duration(secs(3600)), ApplyClass::Hot,
        "The longest that Redis keeps a response.";
    L2_BYTES_MAX = "cache.l2_bytes_max", Kind::Bytes(1_048_576, 17_592_186_044_416),
        Literal::Bytes(8_589_934_592), ApplyClass::Hot,
        "Memory of Redis beyond which nothing more is written.";
    L3_TTL = "cache.l3_ttl", Kind::Duration(millis(0), secs(31_536_000)),
        Literal::Duration(secs(86_400)), ApplyClass::Hot,
        "The longest that the mesh uses an answer without asking the origin.";
    ASIDE_TTL = "cache.aside_ttl", Kind::Duration(millis(0), secs(2_592_000)),
        Literal::Duration(secs(3600)), ApplyClass::Hot,
        "How long values that applications put live without a time of their own.";
    WARM_ON_START = "cache.warm_on_start", Kind::Texts,
        Literal::Texts(&[]), ApplyClass::Hot,
        "URLs, or paths of the hosts that routes name, that are fetched when a node starts.";
    WARM_START_TIMEOUT = "cache.warm_start_timeout", Kind::Duration(millis(0), secs(600)),
        Literal::Duration(secs(10)), ApplyClass::Hot,
        "How long a node that starts waits for that; then it is ready all the same.";
    WARM_CONCURRENT_MAX = "cache.warm_concurrent_max", Kind::Count(1, 64),
        Literal::Count(4), ApplyClass::Hot,
        "Fetches ahead of requests at a time.";
    WARM_RATE_MAX = "cache.warm_rate_max", Kind::Count(1, 100_000),
        Literal::Count(100), ApplyClass::Hot,
        "Fetches ahead of requests that begin within a second.";
    WARM_HOT_KEYS = "cache.warm_hot_keys", Kind::Count(0, 10_000),
        Literal::Count(1_000), ApplyClass::Hot,
        "What was asked for most is kept on disk, so many, and fetched at the next start; 0: nothing.";
    WARM_PREDICTIVE = "cache.warm_predictive", Kind::Flag,
        Literal::Flag(true), ApplyClass::Hot,
        "Fetches what was asked for often before it expires.";
    WARM_PREDICTIVE_REQUESTS_MIN = "cache.warm_predictive_requests_min", Kind::Count(1, 1_000_000),
        Literal::Count(10), ApplyClass::Hot,
        "Requests within the window that make a path worth it.";
    WARM_PREDICTIVE_WINDOW = "cache.warm_predictive_window", Kind::Duration(secs(60), secs(604_800)),
        Literal::Duration(secs(3600)), ApplyClass::Hot,
        "The window of predictive warming.";
    WARM_PREDICTIVE_COST_MIN = "cache.warm_predictive_cost_min", Kind::Duration(millis(0), secs(60)),
        Literal::Duration(millis(5)), ApplyClass::Hot,
        "How long the origin must have taken for a path to be worth it.";
    WARM_SCHEDULE = "cache.warm_schedule", Kind::Texts,
        Literal::Texts(&["0 6 * * *"]), ApplyClass::Hot,
        "When what is fetched at the start, or what follows the times, is fetched again (cron, UTC).";
    REDIS_CONNECT_TIMEOUT = "cache.redis_connect_timeout", Kind::Duration(millis(1), secs(60)),
        Literal::Duration(millis(250)), ApplyClass::Hot,
        "To open a connection to Redis.";
    REDIS_COMMAND_TIMEOUT = "cache.redis_command_timeout", Kind::Duration(millis(1), secs(60)),
        Literal::Duration(millis(50)), ApplyClass::Hot,
        "For one Redis command, before the tier is left out.";
}
