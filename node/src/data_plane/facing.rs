//! How a request reached this node, and from whom; what whoever is asked next is told of that.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Version};
use weir_core::proxy::{Hop, Presence, Scheme};

use super::connection::Client;
use super::core::Core;
use crate::config::Ingress;

const NO_HOST: HeaderValue = HeaderValue::from_static("");

/// Who a request is from.
#[derive(Clone, Copy)]
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

/// Replaces what a request says of its client by what is known; the client's address.
pub(super) fn tell_of_client<B>(
    core: &Core,
    caller: Caller<'_>,
    request: &mut Request<B>,
    presence: Presence,
) -> IpAddr {
    let host = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    }
    .unwrap_or(NO_HOST);
    let introduction = Introduction {
        caller,
        version: request.version(),
    };
    let hop = introduction.hop(&host);
    let headers = request.headers_mut();
    let forwarding = &caller.limits.forwarding;
    let address = if core.is_hop(caller.ip, headers) {
        // What it says of its client is this node's word too.
        let mut forwarding = forwarding.clone();
        forwarding.trusted.push(caller.ip.to_canonical().into());
        forwarding.apply(&hop, headers)
    } else if presence.tells_of_client() {
        forwarding.apply(&hop, headers)
    } else {
        forwarding.introduce(&hop, headers)
    };
    core.via.append(headers, introduction.version);
    address
}

/// What a request that says nothing of its client is still to say of it, and of this node, before anybody else gets it.
pub(super) struct Introduction<'a> {
    pub(super) caller: Caller<'a>,
    /// In which the request came.
    pub(super) version: Version,
}

impl Introduction<'_> {
    /// Says it in fields that have the effective host.
    pub(super) fn write(&self, core: &Core, headers: &mut HeaderMap) {
        let host = headers.get(HOST).cloned().unwrap_or(NO_HOST);
        let forwarding = &self.caller.limits.forwarding;
        forwarding.introduce(&self.hop(&host), headers);
        core.via.append(headers, self.version);
    }

    fn hop<'b>(&'b self, host: &'b HeaderValue) -> Hop<'b> {
        Hop {
            peer: self.caller.ip,
            peer_value: self.caller.ip_value,
            scheme: self.caller.scheme,
            host,
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

    /// For `own`, the authority that the request is for, which says nothing of its client
    /// ([`Presence::tells_of_client`](weir_core::proxy::Presence::tells_of_client)).
    pub(super) fn untold(caller: &Caller<'_>, own: Rc<str>) -> Self {
        let tells_scheme = caller.limits.forwarding.headers.x_forwarded_proto;
        Self {
            scheme: match tells_scheme {
                true => caller.scheme,
                false => Scheme::Http,
            },
            authority: own,
            target: None,
            has_other_host: false,
        }
    }

    /// The same of a request that says something. Read after the fields about the client were made true: what trusted
    /// proxies say stands there.
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
