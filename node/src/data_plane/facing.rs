//! How a request reached this node, and from whom.

use std::net::IpAddr;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request};
use weir_core::proxy::Scheme;

use super::connection::Client;
use crate::config::Ingress;

/// Who a request is from.
pub(super) struct Caller<'a> {
    pub(super) ip: IpAddr,
    /// The same as the value of a header.
    pub(super) ip_value: &'a HeaderValue,
    pub(super) scheme: Scheme,
    pub(super) limits: &'a Ingress,
}

impl<'a> Caller<'a> {
    /// A client of this node.
    pub(super) fn of(client: &'a Client) -> Self {
        Self {
            ip: client.peer.ip(),
            ip_value: &client.peer_value,
            scheme: Scheme::Http,
            limits: &client.limits,
        }
    }
}

/// Scheme and authority by which the client reached this node, or the trusted proxy before it.
#[derive(Clone)]
pub(super) struct Facing {
    pub(super) scheme: Scheme,
    /// `host[:port]` that the request is for.
    pub(super) authority: Rc<str>,
    /// Path and query before the rewrite, if there was one.
    pub(super) target: Option<PathAndQuery>,
    /// A trusted proxy says that the client asked for another host.
    pub(super) has_other_host: bool,
}

impl Facing {
    pub(super) fn nothing() -> Self {
        Self {
            scheme: Scheme::Http,
            authority: Rc::default(),
            target: None,
            has_other_host: false,
        }
    }

    /// For `own`, the authority that the request is for. Read after the fields about the client were made true: what
    /// trusted proxies say stands there.
    pub(super) fn of<B>(request: &Request<B>, own: Rc<str>) -> Self {
        let headers = request.headers();
        let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_https =
            told("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let other = told("x-forwarded-host");
        Self {
            scheme: if is_https {
                Scheme::Https
            } else {
                Scheme::Http
            },
            has_other_host: other.is_some_and(|other| !other.eq_ignore_ascii_case(&own)),
            authority: own,
            target: None,
        }
    }

    /// Keeps the target, which is about to be another one.
    pub(super) fn before_rewrite<B>(&mut self, request: &Request<B>) {
        self.target = request.uri().path_and_query().cloned();
    }
}
