//! Whom the API answers: programs, and pages of its own site.
//!
//! A browser sends requests of any page anywhere. A page of another site may not read what comes back, unless a name of
//! its own leads here (DNS rebinding): then it is of this site. So what is asked for under a name that nobody has given
//! this node is not answered, and what changes something says where its page is from (RFC 6454).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Shown;
use super::engines::told;

/// Passes on what may be answered.
pub(super) async fn refuse_others(
    State(shown): State<Shown>,
    request: Request,
    next: Next,
) -> Response {
    let config = shown.engines.config();
    match refusal(&request, &config.http_api.hosts) {
        None => next.run(request).await,
        Some(Other::Host) => told(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "host: call this API by an address, localhost or a name in http_api.hosts",
        ),
        Some(Other::Site) => told(
            StatusCode::FORBIDDEN,
            "forbidden",
            "host, origin: call this API by an address, localhost or a name in http_api.hosts; \
             a page of another site neither changes nor fetches anything here",
        ),
    }
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// It asks under a name that is not this node's.
    Host,
    /// It would change something for a page of another site.
    Site,
}

fn refusal<B>(request: &axum::http::Request<B>, hosts: &[String]) -> Option<Other> {
    // A WebSocket is both ways, and browsers let any page open one.
    let is_socket = request.headers().contains_key(UPGRADE);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD) && !is_socket;
    let authority = authority(request);
    // Without one it is HTTP/1.0: no browser.
    let is_own = authority.is_none_or(|authority| is_own(authority, hosts));
    match request.headers().get(ORIGIN).map(HeaderValue::to_str) {
        _ if is_read && !is_own => Some(Other::Host),
        // It could not read the answer, and would have the node work for it and measure how long that takes.
        _ if is_read => is_fetched_by_others(request).then_some(Other::Site),
        // Browsers say it with every change.
        None => None,
        Some(origin) => {
            let site = origin.ok().and_then(|origin| origin.split_once("://"));
            let is_same = site.is_some_and(|(_, site)| authority == Some(site));
            (!is_same || !is_own).then_some(Other::Site)
        }
    }
}

/// Whether a page of another site asks, other than by leading its user here (W3C Fetch Metadata). Programs say nothing
/// of the kind.
fn is_fetched_by_others<B>(request: &axum::http::Request<B>) -> bool {
    let says = |name: &str, value: &str| {
        request
            .headers()
            .get(name)
            .is_some_and(|told| told == value)
    };
    let is_elsewhere = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
    is_elsewhere && !says("sec-fetch-mode", "navigate")
}

/// What it is addressed to: its target counts before its header (RFC 9112, 3.2.2).
fn authority<B>(request: &axum::http::Request<B>) -> Option<&str> {
    let target = request.uri().authority();
    let header = || Some(request.headers().get(HOST)?.to_str().unwrap_or_default());
    target.map(|target| target.as_str()).or_else(header)
}

/// Whether it is an address, which no page can have lead here, or a name of this node.
fn is_own(authority: &str, hosts: &[String]) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => authority,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    name == "localhost"
        || name.ends_with(".localhost")
        || hosts.iter().any(|host| host == name)
        || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, target: &str, host: &str, origin: Option<&str>) -> Option<Other> {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let hosts = ["weir.example.com".to_owned()];
        refusal(&request.body(()).unwrap(), &hosts)
    }

    #[test]
    fn only_pages_of_this_site_and_programs_change_anything() {
        let post = |host, origin| asked(Method::POST, "/", host, origin);
        assert_eq!(post("127.0.0.1:7480", None), None);
        assert_eq!(post("gateway:7480", None), None, "programs say no origin");
        let own = "http://127.0.0.1:7480";
        assert_eq!(post("127.0.0.1:7480", Some(own)), None);
        let named = "http://weir.example.com";
        assert_eq!(post("weir.example.com", Some(named)), None);
        let rebound = Some("http://attacker.example");
        assert_eq!(post("attacker.example", rebound), Some(Other::Site));
        for origin in ["null", "http://127.0.0.1:80", "https://example.com", ""] {
            let refused = post("127.0.0.1:7480", Some(origin));
            assert_eq!(refused, Some(Other::Site), "{origin}");
        }
    }

    #[test]
    fn a_page_of_another_site_opens_no_web_socket() {
        let open = |host: &str, origin: Option<&str>| {
            let mut request = axum::http::Request::builder()
                .uri("/ws")
                .header(HOST, host)
                .header(UPGRADE, "websocket");
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            refusal(&request.body(()).unwrap(), &[])
        };
        assert_eq!(open("127.0.0.1:7480", None), None);
        assert_eq!(open("127.0.0.1:7480", Some("http://127.0.0.1:7480")), None);
        let other = open("127.0.0.1:7480", Some("https://example.com"));
        assert_eq!(other, Some(Other::Site));
        let rebound = open("attacker.example", Some("http://attacker.example"));
        assert_eq!(rebound, Some(Other::Site));
    }

    #[test]
    fn a_page_whose_name_was_made_to_lead_here_reads_nothing() {
        let get = |host| asked(Method::GET, "/api/engines", host, None);
        for host in [
            "127.0.0.1:7480",
            "[::1]:7480",
            "10.0.0.7",
            "localhost:7480",
            "LOCALHOST.",
            "a.localhost:7480",
            "Weir.example.com:7480",
        ] {
            assert_eq!(get(host), None, "{host}");
        }
        for host in [
            "attacker.example",
            "127.0.0.1.attacker.example:7480",
            "",
            "weir",
        ] {
            assert_eq!(get(host), Some(Other::Host), "{host}");
        }
        let head = asked(Method::HEAD, "/metrics", "attacker.example", None);
        assert_eq!(head, Some(Other::Host));
        let target = "http://attacker.example/api/engines";
        let absolute = asked(Method::GET, target, "127.0.0.1", None);
        assert_eq!(absolute, Some(Other::Host), "the target counts");
    }

    #[test]
    fn a_page_of_another_site_may_lead_here_and_not_fetch() {
        let asked = |site: &str, mode: &str| {
            let request = axum::http::Request::builder()
                .uri("/api/logs")
                .header(HOST, "localhost:7480")
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", mode);
            refusal(&request.body(()).unwrap(), &[])
        };
        for site in ["cross-site", "same-site"] {
            assert_eq!(asked(site, "no-cors"), Some(Other::Site));
            assert_eq!(asked(site, "navigate"), None);
        }
        for site in ["same-origin", "none"] {
            assert_eq!(asked(site, "cors"), None);
        }
    }
}
