//! What is known of a step, kept as it is found and put into words only when the request is told. Names are those of
//! the OpenTelemetry semantic conventions for HTTP; Weir's own begin with `weir.`.

use std::net::SocketAddr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};

use super::super::answer::Reason;
use super::super::routing::{LocalRouting, Place};
use crate::telemetry::wire::Attributes;

/// Bytes of a text that are told; what is longer is cut.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Something that is known.
#[derive(Debug)]
pub(in super::super) enum Fact {
    /// A word.
    Text(&'static str, &'static str),
    /// A number.
    Number(&'static str, i64),
    /// What a client asked for.
    Asked {
        method: Method,
        target: Option<PathAndQuery>,
        host: Option<HeaderValue>,
        version: Version,
        scheme: &'static str,
        client: SocketAddr,
    },
    /// Which route and service took it.
    Routed {
        routing: LocalRouting,
        route: usize,
        service: usize,
    },
    /// Which backend.
    Backend {
        routing: LocalRouting,
        service: usize,
        place: Place,
    },
    /// What is wanted.
    Target(PathAndQuery),
    /// What the backend is asked for.
    Method(Method),
    /// The protocol's version.
    Version(Version),
    /// What was answered.
    Status(StatusCode),
    /// Why it failed.
    Failure(Option<StatusCode>, Option<Reason>),
}

impl Fact {
    pub(super) fn tell(&self, attributes: &mut Attributes<'_>) {
        match self {
            Self::Text(key, word) => text(attributes, key, word),
            Self::Number(key, number) => attributes.number(key, *number),
            Self::Asked {
                method,
                target,
                host,
                version,
                scheme,
                client,
            } => {
                text(attributes, METHOD, word_of(method));
                if let Some(target) = target {
                    // Not the query: it may hold tokens and signatures.
                    text(attributes, PATH, target.path());
                }
                text(attributes, "url.scheme", scheme);
                text(attributes, PROTOCOL, version_of(*version));
                text(attributes, "network.peer.address", &client.ip().to_string());
                attributes.number("network.peer.port", client.port().into());
                if let Some(host) = host.as_ref().and_then(|host| host.to_str().ok()) {
                    address(host, attributes);
                }
            }
            Self::Routed {
                routing,
                route,
                service,
            } => {
                if let Some(route) = routing.table.get(*route) {
                    text(attributes, "weir.route", &route.name);
                }
                text(
                    attributes,
                    "weir.service",
                    routing.services[*service].settings.name.as_str(),
                );
            }
            Self::Backend {
                routing,
                service,
                place,
            } => {
                let backend = routing.services[*service].backend_at(*place);
                text(attributes, "weir.backend", backend.id.as_str());
                address(&backend.endpoint.to_string(), attributes);
            }
            Self::Target(target) => text(attributes, PATH, target.path()),
            Self::Method(method) => text(attributes, METHOD, word_of(method)),
            Self::Version(version) => text(attributes, PROTOCOL, version_of(*version)),
            Self::Status(status) => {
                attributes.number("http.response.status_code", status.as_u16().into());
            }
            Self::Failure(_, Some(reason)) => text(attributes, "error.type", reason.as_str()),
            Self::Failure(status, None) => {
                let status = status.as_ref().map_or("0", StatusCode::as_str);
                text(attributes, "error.type", status);
            }
        }
    }
}

/// Clients choose how long their texts are.
fn text(attributes: &mut Attributes<'_>, key: &str, text: &str) {
    attributes.text(key, start_of(text));
}

fn start_of(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const PATH: &str = "url.path";
const METHOD: &str = "http.request.method";
const PROTOCOL: &str = "network.protocol.version";

/// Methods that nobody knows would be a name for each request (the conventions say `_OTHER`).
fn word_of(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    match known.contains(method) {
        true => method.as_str(),
        false => "_OTHER",
    }
}

fn version_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// `host:port`, `[host]:port` or a host alone.
fn address(authority: &str, attributes: &mut Attributes<'_>) {
    let parted = authority
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = match parted {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    text(attributes, "server.address", host);
    if let Some(port) = port {
        attributes.number("server.port", port.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::spans::SpanKind;
    use crate::telemetry::wire::{SpanHead, SpanWriter, text_of};

    fn told(target: &str, host: &str) -> Vec<(String, String)> {
        let fact = Fact::Asked {
            method: Method::GET,
            target: target.parse().ok(),
            host: HeaderValue::from_str(host).ok(),
            version: Version::HTTP_11,
            scheme: "http",
            client: ([127, 0, 0, 1], 1).into(),
        };
        let head = SpanHead {
            trace_id: [1; 16],
            id: [1; 8],
            parent: None,
            name: "ingress",
            kind: SpanKind::Server,
            start_unix_ns: 1,
            end_unix_ns: 2,
            error: None,
        };
        let mut writer = SpanWriter::default();
        writer.span(&head, |attributes| fact.tell(attributes));
        let spans = writer.finish().decode();
        let attributes = spans.into_iter().flat_map(|span| span.attributes);
        attributes
            .map(|attribute| (attribute.key, text_of(attribute.value)))
            .collect()
    }

    #[test]
    fn texts_are_cut_at_a_character_and_a_query_is_not_told() {
        let path = format!("/{}?token=secret", "\u{e9}".repeat(4_000));
        for (key, text) in told(&path, &"h".repeat(9_000)) {
            assert!(text.len() <= TEXT_BYTES_MAX, "{key}");
            assert!(!text.contains("secret"), "{key}");
        }
        let told = told("/a?token=secret", "h:8080");
        let is_told = |key: &str, text: &str| told.contains(&(key.to_owned(), text.to_owned()));
        assert!(is_told("url.path", "/a") && is_told("server.address", "h"));
        assert!(is_told("server.port", "8080") && is_told("http.request.method", "GET"));
        assert!(told.iter().all(|(key, _)| key != "url.query"));
    }
}
