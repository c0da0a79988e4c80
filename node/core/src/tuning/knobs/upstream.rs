//! Connections to backends and waits on them. What a service's own file section says wins.

use super::declare::*;

knobs! {
    CONNECT_TIMEOUT = "upstream.connect_timeout", Kind::Duration(millis(1), secs(86_400)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "To open a connection to a backend.";
    SEND_TIMEOUT = "upstream.send_timeout", Kind::Duration(millis(1), secs(86_400)),
        Literal::Duration(secs(120)), ApplyClass::Hot,
        "Between two steps of sending a request to a backend.";
    READ_TIMEOUT = "upstream.read_timeout", Kind::Duration(millis(1), secs(86_400)),
        Literal::Duration(secs(120)), ApplyClass::Hot,
        "For a response head, and between two parts of its body.";
    TUNNEL_IDLE_TIMEOUT = "upstream.tunnel_idle_timeout", Kind::Duration(millis(1), secs(86_400)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "How long an upgraded connection may be silent.";
    TOTAL_TIMEOUT = "upstream.total_timeout", Kind::DurationOrOff(millis(1), secs(86_400)),
        Literal::Off, ApplyClass::Hot,
        "For a whole exchange, body included.";
    CONNECTIONS_MAX = "upstream.connections_max", Kind::Count(1, 1_000_000),
        Literal::Count(10_000), ApplyClass::Hot,
        "HTTP/1.1 connections of one core to one backend.";
    IDLE_MIN = "upstream.idle_min", Kind::Count(0, 10_000),
        Literal::Count(0), ApplyClass::Hot,
        "Idle connections kept open ahead of need.";
    IDLE_MAX = "upstream.idle_max", Kind::Count(0, 100_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Idle connections kept for reuse.";
    IDLE_TIMEOUT = "upstream.idle_timeout", Kind::Duration(millis(100), secs(86_400)),
        Literal::Duration(secs(60)), ApplyClass::Hot,
        "How long an idle connection is kept.";
    H2_CONNECTIONS_MAX = "upstream.h2_connections_max", Kind::Count(1, 1000),
        Literal::Count(16), ApplyClass::Hot,
        "HTTP/2 connections of one core to one backend.";
    H2_STREAMS_MAX = "upstream.h2_streams_max", Kind::Count(1, 65_536),
        Literal::Count(100), ApplyClass::NewConnections,
        "Streams of one HTTP/2 connection before another is opened.";
}
