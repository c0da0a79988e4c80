//! What is known of a step, kept as it is found and put into words only when the request is told. Names are those of
//! the OpenTelemetry semantic conventions for HTTP; Weir's own begin with `weir.`.

use std::net::SocketAddr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};

use super::super::answer::Reason;
use super::super::routing::{LocalRouting, Place};
use crate::telemetry::spans::{Attribute, AttributeValue};

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
    pub(super) fn put_into_words(&self, into: &mut Vec<Attribute>) {
        let mut tell = |key, value: AttributeValue| into.push((key, cut(value)));
        match self {
            Self::Text(key, text) => tell(key, (*text).into()),
            Self::Number(key, number) => tell(key, (*number).into()),
            Self::Asked {
                method,
                target,
                host,
                version,
                scheme,
                client,
            } => {
                tell(METHOD, method_of(method));
                if let Some(target) = target {
                    // Not the query: it may hold tokens and signatures.
                    tell("url.path", path_of(target));
                }
                tell("url.scheme", (*scheme).into());
                if let Some(host) = host.as_ref().and_then(|host| host.to_str().ok()) {
                    address(host, &mut tell);
                }
                tell(PROTOCOL, version_of(*version));
                tell("network.peer.address", client.ip().to_string().into());
                tell("network.peer.port", i64::from(client.port()).into());
            }
            Self::Routed {
                routing,
                route,
                service,
            } => {
                if let Some(route) = routing.table.get(*route) {
                    tell("weir.route", route.name.to_string().into());
                }
                let service = &routing.services[*service].settings.name;
                tell("weir.service", service.to_string().into());
            }
            Self::Backend {
                routing,
                service,
                place,
            } => {
                let backend = routing.services[*service].backend_at(*place);
                tell("weir.backend", backend.id.to_string().into());
                address(&backend.endpoint.to_string(), &mut tell);
            }
            Self::Target(target) => tell("url.path", path_of(target)),
            Self::Method(method) => tell(METHOD, method_of(method)),
            Self::Version(version) => tell(PROTOCOL, version_of(*version)),
            Self::Status(status) => tell(
                "http.response.status_code",
                i64::from(status.as_u16()).into(),
            ),
            Self::Failure(_, Some(reason)) => tell("error.type", reason.as_str().into()),
            Self::Failure(status, None) => {
                let status = status.map_or(0, |status| status.as_u16());
                tell("error.type", status.to_string().into());
            }
        }
    }
}

/// Clients choose how long their texts are.
fn cut(value: AttributeValue) -> AttributeValue {
    match value {
        AttributeValue::Text(text) if text.len() > TEXT_BYTES_MAX => {
            start_of(&text).to_owned().into()
        }
        short => short,
    }
}

fn start_of(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn path_of(target: &PathAndQuery) -> AttributeValue {
    start_of(target.path()).to_owned().into()
}

const METHOD: &str = "http.request.method";
const PROTOCOL: &str = "network.protocol.version";

/// Methods that nobody knows would be a name for each request (the conventions say `_OTHER`).
fn method_of(method: &Method) -> AttributeValue {
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
        true => method.to_string().into(),
        false => "_OTHER".into(),
    }
}

fn version_of(version: Version) -> AttributeValue {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
    .into()
}

/// `host:port`, `[host]:port` or a host alone.
fn address(text: &str, tell: &mut impl FnMut(&'static str, AttributeValue)) {
    let parted = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = match parted {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    tell("server.address", host.to_owned().into());
    if let Some(port) = port {
        tell("server.port", i64::from(port).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str, host: &str) -> Vec<Attribute> {
        let mut told = Vec::new();
        let fact = Fact::Asked {
            method: Method::GET,
            target: target.parse().ok(),
            host: HeaderValue::from_str(host).ok(),
            version: Version::HTTP_11,
            scheme: "http",
            client: ([127, 0, 0, 1], 1).into(),
        };
        fact.put_into_words(&mut told);
        told
    }

    #[test]
    fn texts_are_cut_at_a_character_and_a_query_is_not_told() {
        let path = format!("/{}?token=secret", "\u{e9}".repeat(4_000));
        for (key, value) in told(&path, &"h".repeat(9_000)) {
            let AttributeValue::Text(text) = value else {
                continue;
            };
            assert!(text.len() <= TEXT_BYTES_MAX, "{key}");
            assert!(!text.contains("secret"), "{key}");
        }
        let keys: Vec<_> = told("/a?token=secret", "h")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert!(keys.contains(&"url.path") && !keys.contains(&"url.query"));
    }
}
