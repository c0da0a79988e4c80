//! Where the node listens, with which limits, and where its traces go.

use std::net::SocketAddr;
use std::time::Duration;

use weir_core::proxy::{Forwarding, ForwardingHeaders};

use super::reader::{Problem, Section};
use super::{DAY, HOUR, SECOND};

/// Where clients connect, and what they may do.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// Addresses, each opened once per core.
    pub listen: Vec<SocketAddr>,
    /// Open client connections; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// From the first byte of a request head (or the accept) to its last byte.
    pub header_timeout: Duration,
    /// How long a client connection may idle between requests.
    pub keep_alive_timeout: Duration,
    /// How long a client may pause while it sends a body.
    pub body_idle_timeout: Duration,
    /// How long a client may take none of what is sent to it.
    pub write_timeout: Duration,
    /// Bytes of one request head.
    pub head_bytes_max: usize,
    /// Header lines of one request.
    pub headers_max: usize,
    /// Streams that one HTTP/2 client may have open.
    pub h2_streams_max: u32,
    /// HTTP/2 flow-control window of one stream, in bytes.
    pub h2_stream_window_bytes: u32,
    /// HTTP/2 flow-control window of one connection, in bytes.
    pub h2_connection_window_bytes: u32,
    /// Which peers are believed about the client, and what backends are told of it.
    pub forwarding: Forwarding,
    /// Requests slower than this are logged.
    pub slow_request: Option<Duration>,
}

impl Ingress {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "ingress");
        let mut listen = s.parsed_list(problems, "listen");
        if listen.is_empty() {
            listen.push(SocketAddr::from(([127, 0, 0, 1], 8080)));
        }
        let wait = Duration::from_millis(10)..=HOUR;
        let stream_window = s.bytes(problems, "h2_stream_window", 256 << 10, 65_535..=1 << 30);
        let connection_window =
            s.bytes(problems, "h2_connection_window", 4 << 20, 65_535..=1 << 30);
        if connection_window < stream_window {
            s.problem(
                problems,
                "h2_connection_window",
                format!("{connection_window} is less than h2_stream_window ({stream_window})"),
            );
        }
        let read = Self {
            listen,
            connections_max: s.number(problems, "connections_max", 100_000, 1..=10_000_000)
                as usize,
            header_timeout: s.duration(problems, "header_timeout", 10 * SECOND, wait.clone()),
            keep_alive_timeout: s.duration(
                problems,
                "keep_alive_timeout",
                120 * SECOND,
                Duration::from_millis(10)..=DAY,
            ),
            body_idle_timeout: s.duration(problems, "body_idle_timeout", 60 * SECOND, wait.clone()),
            write_timeout: s.duration(problems, "write_timeout", 60 * SECOND, wait),
            head_bytes_max: s.bytes(problems, "head_bytes_max", 64 << 10, 1_024..=1 << 20) as usize,
            // hyper parses up to 100 header lines without a heap allocation and no more.
            headers_max: s.number(problems, "headers_max", 100, 1..=100) as usize,
            h2_streams_max: s.number(problems, "h2_streams_max", 128, 1..=65_536) as u32,
            h2_stream_window_bytes: stream_window as u32,
            h2_connection_window_bytes: connection_window as u32,
            forwarding: Forwarding {
                trusted: s.parsed_list(problems, "trusted_proxies"),
                headers: ForwardingHeaders {
                    forwarded: s.flag(problems, "forwarded", false),
                    ..ForwardingHeaders::default()
                },
            },
            slow_request: s.duration_or_off(
                problems,
                "slow_request",
                Some(SECOND),
                Duration::from_millis(1)..=DAY,
            ),
        };
        s.finish(problems);
        read
    }
}

/// One of the node's own listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address; beyond loopback only when spelled out as insecure.
    pub listen: SocketAddr,
}

impl Listener {
    pub(super) fn read(
        root: &mut Section,
        problems: &mut Vec<Problem>,
        key: &str,
        default: &str,
    ) -> Self {
        let mut s = root.section(problems, key);
        let listen = s.address(problems, "listen", default);
        let insecure = s.flag(problems, "insecure", false);
        if !listen.ip().is_loopback() && !insecure {
            s.problem(
                problems,
                "listen",
                format!(
                    "{listen} is reachable from outside and has no authentication; \
                     use a loopback address or set insecure = true"
                ),
            );
        }
        s.finish(problems);
        Self { listen }
    }
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The OTLP gRPC receiver, such as `http://127.0.0.1:4317`; off when absent.
    pub otlp: Option<String>,
    /// Share of requests without a sampled parent that are traced, 0 to 1.
    pub sample_ratio: f64,
}

impl Telemetry {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "telemetry");
        let otlp = s.text(problems, "otlp");
        if let Some(url) = &otlp
            && !url.starts_with("http://")
        {
            s.problem(problems, "otlp", format!("`{url}` must start with http://"));
        }
        let read = Self {
            otlp,
            sample_ratio: s.ratio(problems, "sample_ratio", 0.01),
        };
        s.finish(problems);
        read
    }
}
