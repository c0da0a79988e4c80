//! Where the node listens, with which limits, and where its traces go.

use std::net::SocketAddr;
use std::time::Duration;

use weir_control_plane::governance::secret::SecretRef;
use weir_core::logs::check_levels;
use weir_core::proxy::{Forwarding, ForwardingHeaders};
use weir_core::trace::{Sampler, Sampling};
use weir_core::tuning::knobs::{ingress, telemetry};

use super::Config;
use super::alerts::AlertLimits;
use super::broadcaster::WebSocketSettings;
use super::compression::Compression;
use super::history::HistorySettings;
use super::reader::{Problem, Section};
use super::vpns::read_secret;
use crate::ports::net::Endpoint;

/// Where clients connect, and what they may do.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// Addresses, each opened once per core.
    pub listen: Vec<SocketAddr>,
    /// Where other nodes find them, who are recognized by these addresses, too; none: at `listen`.
    pub advertise: Vec<SocketAddr>,
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
    /// How answers are compressed on routes that ask for it.
    pub compression: Compression,
    /// What holds for WebSockets to the node itself.
    pub websocket: WebSocketSettings,
}

impl Ingress {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "ingress").read_by("data plane");
        let mut listen = s.addresses(problems, "listen");
        if listen.is_empty() {
            listen.push(SocketAddr::from(([127, 0, 0, 1], 8080)));
        }
        let read = Self {
            listen,
            advertise: s.addresses(problems, "advertise"),
            connections_max: s.tuned(problems, "connections_max", &ingress::CONNECTIONS_MAX),
            header_timeout: s.tuned(problems, "header_timeout", &ingress::HEADER_TIMEOUT),
            keep_alive_timeout: s.tuned(
                problems,
                "keep_alive_timeout",
                &ingress::KEEP_ALIVE_TIMEOUT,
            ),
            body_idle_timeout: s.tuned(problems, "body_idle_timeout", &ingress::BODY_IDLE_TIMEOUT),
            write_timeout: s.tuned(problems, "write_timeout", &ingress::WRITE_TIMEOUT),
            head_bytes_max: s.tuned(problems, "head_bytes_max", &ingress::HEAD_BYTES_MAX),
            headers_max: s.tuned(problems, "headers_max", &ingress::HEADERS_MAX),
            h2_streams_max: s.tuned(problems, "h2_streams_max", &ingress::H2_STREAMS_MAX),
            h2_stream_window_bytes: s.tuned(
                problems,
                "h2_stream_window",
                &ingress::H2_STREAM_WINDOW,
            ),
            h2_connection_window_bytes: s.tuned(
                problems,
                "h2_connection_window",
                &ingress::H2_CONNECTION_WINDOW,
            ),
            forwarding: Forwarding {
                trusted: s.parsed_list(problems, "trusted_proxies"),
                headers: ForwardingHeaders {
                    forwarded: s.tuned(problems, "forwarded", &ingress::FORWARDED),
                    ..ForwardingHeaders::default()
                },
            },
            slow_request: s.tuned(problems, "slow_request", &ingress::SLOW_REQUEST),
            compression: Compression::read(&mut s, problems),
            websocket: WebSocketSettings::read(&mut s, problems),
        };
        let (stream, connection) = (read.h2_stream_window_bytes, read.h2_connection_window_bytes);
        if connection < stream {
            s.contradiction(
                problems,
                "h2_connection_window",
                format!("{connection} is less than h2_stream_window ({stream})"),
                [&ingress::H2_CONNECTION_WINDOW, &ingress::H2_STREAM_WINDOW],
            );
        }
        s.finish(problems);
        read
    }

    /// The addresses that the control plane tells other nodes.
    pub fn addresses_for_others(&self) -> &[SocketAddr] {
        match self.advertise.as_slice() {
            [] => &self.listen,
            told => told,
        }
    }
}

/// The node's gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcApi {
    /// Its address; beyond loopback only when spelled out as insecure.
    pub listen: SocketAddr,
    /// Where other nodes find it; none: at `listen`.
    pub advertise: Option<Endpoint>,
}

impl GrpcApi {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "grpc");
        let advertise = s.parsed(problems, "advertise");
        let listen = read_listen(s, problems, "127.0.0.1:7400", false);
        Self { listen, advertise }
    }

    /// The address that the control plane tells other nodes.
    pub fn address_for_others(&self) -> String {
        let advertised = self.advertise.as_ref().map(ToString::to_string);
        advertised.unwrap_or_else(|| self.listen.to_string())
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpApi {
    /// Its address; beyond loopback only with a token, or when spelled out as insecure.
    pub listen: SocketAddr,
    /// Names that it is called by, in lower case, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// What every request has to carry, if anything.
    pub token: Option<SecretRef>,
}

impl HttpApi {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "http_api");
        let hosts = s.texts(problems, "hosts");
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c));
        for host in &hosts {
            if host.is_empty() || host.contains(odd) {
                let what = format!("`{host}` is no host name, without port");
                s.problem(problems, "hosts", what);
            }
        }
        let token = read_secret(&mut s, problems, "token");
        let listen = read_listen(s, problems, "127.0.0.1:7480", token.is_some());
        Self {
            listen,
            token,
            hosts: hosts.iter().map(|host| host.to_lowercase()).collect(),
        }
    }
}

/// The address in a section of one of the node's own listeners; beyond loopback only with authentication, or when
/// spelled out as insecure.
fn read_listen(
    mut s: Section,
    problems: &mut Vec<Problem>,
    default: &str,
    has_authentication: bool,
) -> SocketAddr {
    let listen = s.address(problems, "listen", default);
    let insecure = s.flag(problems, "insecure", false);
    if !listen.ip().is_loopback() && !insecure && !has_authentication {
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
    listen
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The OTLP gRPC receiver, such as `http://127.0.0.1:4317`; off when absent.
    pub otlp: Option<String>,
    /// Share of requests without a sampled parent that are traced, 0 to 1.
    pub sample_ratio: f64,
    /// Failed and slow requests that are traced within a second on each core, though nobody sampled them; 0: none.
    pub trace_tail_per_second_max: u32,
    /// Memory for traces that can be asked for without a collector; 0 keeps none.
    pub trace_recent_bytes_max: usize,
    /// How old the status may be that is shown to who polls it.
    pub status_cache_ttl: Duration,
    /// Levels of log lines beside those of the start, as `EnvFilter` reads them.
    pub log_levels: Vec<String>,
    /// Lines of one log query.
    pub log_lines_max: usize,
    /// Between two exports of all metrics to the receiver; none when absent.
    pub metrics_export_interval: Option<Duration>,
    /// How long a CPU profile takes of which nobody says it.
    pub profile_duration: Duration,
    /// How long a diagnosis waits for a disk.
    pub dependency_timeout: Duration,
    /// Bytes between two samples of allocations, all the time; 0 takes none.
    pub heap_sample_interval: u64,
    /// How much history is kept.
    pub history: HistorySettings,
    /// Beyond what an alert is told.
    pub alerts: AlertLimits,
}

impl Telemetry {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "telemetry").read_by("telemetry");
        let otlp = s.text(problems, "otlp");
        if let Some(url) = &otlp
            && !url.starts_with("http://")
        {
            s.problem(problems, "otlp", format!("`{url}` must start with http://"));
        }
        let sample_ratio = s.tuned(problems, "sample_ratio", &telemetry::SAMPLE_RATIO);
        let trace_tail_per_second_max = s.tuned(
            problems,
            "trace_tail_per_second_max",
            &telemetry::TRACE_TAIL_PER_SECOND_MAX,
        );
        let trace_recent_bytes_max = s.tuned(
            problems,
            "trace_recent_bytes_max",
            &telemetry::TRACE_RECENT_BYTES_MAX,
        );
        let metrics_export_interval = s.tuned(
            problems,
            "metrics_export_interval",
            &telemetry::METRICS_EXPORT_INTERVAL,
        );
        let mut s = s.read_by("status");
        let status_cache_ttl = s.tuned(problems, "status_cache_ttl", &telemetry::STATUS_CACHE_TTL);
        let mut s = s.read_by("debug");
        let profile_duration = s.tuned(problems, "profile_duration", &telemetry::PROFILE_DURATION);
        let wait = &telemetry::DEPENDENCY_TIMEOUT;
        let dependency_timeout = s.tuned(problems, "dependency_timeout", wait);
        let heap = &telemetry::HEAP_SAMPLE_INTERVAL;
        let heap_sample_interval = s.tuned(problems, "heap_sample_interval", heap);
        let mut s = s.read_by("history");
        let history = HistorySettings::read(&mut s, problems);
        let mut s = s.read_by("alerts");
        let alerts = AlertLimits::read(&mut s, problems);
        let mut s = s.read_by("logs");
        let read = Self {
            otlp,
            sample_ratio,
            trace_tail_per_second_max,
            trace_recent_bytes_max,
            status_cache_ttl,
            metrics_export_interval,
            profile_duration,
            dependency_timeout,
            heap_sample_interval,
            log_levels: s.tuned(problems, "log_levels", &telemetry::LOG_LEVELS),
            log_lines_max: s.tuned(problems, "log_lines_max", &telemetry::LOG_LINES_MAX),
            history,
            alerts,
        };
        if let Err(bad) = check_levels(read.log_levels.iter().map(String::as_str)) {
            let knob = &telemetry::LOG_LEVELS;
            s.contradiction(problems, "log_levels", bad.to_string(), [knob; 2]);
        }
        s.finish(problems);
        read
    }
}

impl Config {
    /// Which requests are traced.
    pub fn sampling(&self) -> Sampling {
        let head = Sampler::new(self.telemetry.sample_ratio).expect("checked as it was read");
        let mut routes = self.route_settings.iter();
        Sampling {
            has_routes: routes.any(|route| route.trace_ratio.is_some()),
            slow: self.ingress.slow_request,
            tail_per_second_max: self.telemetry.trace_tail_per_second_max,
            ..Sampling::head_only(head)
        }
    }
}
