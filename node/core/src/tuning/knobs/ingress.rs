//! Clients: where they connect, and what they may do.

use super::declare::*;

knobs! {
    WORKERS = "ingress.workers", Kind::Count(0, 1024),
        Literal::Count(0), ApplyClass::Restart,
        "Threads that carry traffic; 0 takes one for each core.";
    CONNECTIONS_MAX = "ingress.connections_max", Kind::Count(1, 10_000_000),
        Literal::Count(100_000), ApplyClass::Hot,
        "Open client connections; more wait in the kernel.";
    HEADER_TIMEOUT = "ingress.header_timeout", Kind::Duration(millis(10), secs(3600)),
        Literal::Duration(secs(10)), ApplyClass::NewConnections,
        "From the first byte of a request head to its last.";
    KEEP_ALIVE_TIMEOUT = "ingress.keep_alive_timeout", Kind::Duration(millis(10), secs(86_400)),
        Literal::Duration(secs(120)), ApplyClass::NewConnections,
        "How long a client connection may idle between requests.";
    BODY_IDLE_TIMEOUT = "ingress.body_idle_timeout", Kind::Duration(millis(10), secs(3600)),
        Literal::Duration(secs(60)), ApplyClass::NewConnections,
        "How long a client may pause while it sends a body.";
    WRITE_TIMEOUT = "ingress.write_timeout", Kind::Duration(millis(10), secs(3600)),
        Literal::Duration(secs(60)), ApplyClass::NewConnections,
        "How long a client may take none of what is sent to it.";
    DRAIN_TIMEOUT = "ingress.drain_timeout", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(secs(30)), ApplyClass::Hot,
        "How long a stopping node waits for what still runs.";
    HEAD_BYTES_MAX = "ingress.head_bytes_max", Kind::Bytes(1024, 1_048_576),
        Literal::Bytes(65_536), ApplyClass::NewConnections,
        "Bytes of one request head.";
    HEADERS_MAX = "ingress.headers_max", Kind::Count(1, 100),
        Literal::Count(100), ApplyClass::NewConnections,
        "Header lines of one request.";
    BODY_BYTES_MAX = "ingress.body_bytes_max", Kind::Bytes(0, 1_099_511_627_776),
        Literal::Bytes(5_000_000), ApplyClass::Hot,
        "Bytes of one request body.";
    H2_STREAMS_MAX = "ingress.h2_streams_max", Kind::Count(1, 65_536),
        Literal::Count(128), ApplyClass::NewConnections,
        "Streams that one HTTP/2 client may have open.";
    H2_STREAM_WINDOW = "ingress.h2_stream_window", Kind::Bytes(65_535, 1_073_741_824),
        Literal::Bytes(262_144), ApplyClass::NewConnections,
        "Flow-control window of one HTTP/2 stream.";
    H2_CONNECTION_WINDOW = "ingress.h2_connection_window", Kind::Bytes(65_535, 1_073_741_824),
        Literal::Bytes(4_194_304), ApplyClass::NewConnections,
        "Flow-control window of one HTTP/2 connection.";
    FORWARDED = "ingress.forwarded", Kind::Flag,
        Literal::Flag(false), ApplyClass::Hot,
        "Also sends Forwarded (RFC 7239) to backends.";
    SLOW_REQUEST = "ingress.slow_request", Kind::DurationOrOff(millis(1), secs(86_400)),
        Literal::Duration(secs(1)), ApplyClass::Hot,
        "Requests slower than this are logged.";
    RATE_LIMIT = "ingress.rate_limit", Kind::Flag,
        Literal::Flag(false), ApplyClass::Hot,
        "Limits requests by client address.";
    RATE_LIMIT_PER_SECOND = "ingress.rate_limit_per_second", Kind::Count(1, 1_000_000),
        Literal::Count(100), ApplyClass::Hot,
        "Requests a second of one client address.";
    RATE_LIMIT_BURST = "ingress.rate_limit_burst", Kind::Count(0, 10_000_000),
        Literal::Count(200), ApplyClass::Hot,
        "Requests beyond the rate that are taken at once.";
    RATE_LIMIT_CLIENTS_MAX = "ingress.rate_limit_clients_max", Kind::Count(1, 100_000_000),
        Literal::Count(100_000), ApplyClass::Hot,
        "Client addresses that are told apart.";
    COMPRESSION = "ingress.compression", Kind::Texts,
        Literal::Texts(&["br", "gzip"]), ApplyClass::Hot,
        "Encodings offered to clients, the preferred one first.";
    COMPRESSION_LEVEL = "ingress.compression_level", Kind::Count(0, 11),
        Literal::Count(6), ApplyClass::Hot,
        "Effort of compression.";
    COMPRESSION_BYTES_MIN = "ingress.compression_bytes_min", Kind::Bytes(0, 1_073_741_824),
        Literal::Bytes(1000), ApplyClass::Hot,
        "Answers smaller than this are not compressed.";
    COMPRESSION_BYTES_MAX = "ingress.compression_bytes_max", Kind::Bytes(0, 1_099_511_627_776),
        Literal::Bytes(10_000_000), ApplyClass::Hot,
        "Answers larger than this are not compressed.";
    STATIC_VALIDATORS = "ingress.static_validators", Kind::Flag,
        Literal::Flag(true), ApplyClass::Hot,
        "Sends ETag and Last-Modified with files.";
    STATIC_DIRECT_IO_BYTES_MIN = "ingress.static_direct_io_bytes_min", Kind::Bytes(0, 1_099_511_627_776),
        Literal::Bytes(4_194_304), ApplyClass::Hot,
        "Files from this size on bypass the page cache.";
    WEBSOCKET_MESSAGE_BYTES_MAX = "ingress.websocket_message_bytes_max", Kind::Bytes(125, 1_073_741_824),
        Literal::Bytes(65_536), ApplyClass::NewConnections,
        "Bytes of one WebSocket message to the node itself.";
    WEBSOCKET_COMPRESSION = "ingress.websocket_compression", Kind::Flag,
        Literal::Flag(false), ApplyClass::NewConnections,
        "Compresses WebSocket messages.";
    WEBSOCKET_PING_INTERVAL = "ingress.websocket_ping_interval", Kind::DurationOrOff(millis(100), secs(3600)),
        Literal::Duration(secs(30)), ApplyClass::NewConnections,
        "How often an idle WebSocket client is pinged.";
    WEBSOCKET_IDLE_TIMEOUT = "ingress.websocket_idle_timeout", Kind::Duration(millis(100), secs(86_400)),
        Literal::Duration(secs(60)), ApplyClass::NewConnections,
        "How long a WebSocket client may be silent.";
}
