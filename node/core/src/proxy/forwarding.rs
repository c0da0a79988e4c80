//! Who the client is, and telling the backend (RFC 7239 and its older relatives).

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::addresses::address_list;
use super::authority::Authority;
use super::chain::{Chain, forwarded_elements, is_trusted};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Weir sets none of these; from an untrusted peer they are lies all the same.
static OTHERS: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
];

/// What a request gets that tells of its client, and `Via`: room for all of them at once.
const INTRODUCTION_FIELDS: usize = 5;

/// How the client speaks to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As it stands in URIs and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Which headers tell the backend about the client. One that is off is removed if an untrusted peer
/// sent it and otherwise left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardingHeaders {
    /// `X-Forwarded-For`: client and proxies, the peer last.
    pub x_forwarded_for: bool,
    /// `X-Forwarded-Proto`: `http` or `https`, as the client used it.
    pub x_forwarded_proto: bool,
    /// `X-Forwarded-Host`: the host that the client asked for.
    pub x_forwarded_host: bool,
    /// `X-Real-IP`: the client alone.
    pub x_real_ip: bool,
    /// `Forwarded` (RFC 7239). If off, one that a trusted peer sent is continued nevertheless.
    pub forwarded: bool,
}

impl Default for ForwardingHeaders {
    fn default() -> Self {
        Self {
            x_forwarded_for: true,
            x_forwarded_proto: true,
            x_forwarded_host: true,
            x_real_ip: true,
            forwarded: false,
        }
    }
}

/// One request's last hop, as this node saw it.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The same as [`address_value`] gives it: made once for each connection, then shared.
    pub peer_value: &'a HeaderValue,
    /// How the request came in.
    pub scheme: Scheme,
    /// The effective host with port; empty if the client named none. Shared, not copied.
    pub host: &'a HeaderValue,
}

/// Whose word about the client is believed, and what the backend is told.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// Networks of the proxies in front of this node.
    pub trusted: Vec<IpNet>,
    /// What is set on forwarded requests.
    pub headers: ForwardingHeaders,
}

/// What is believed of the incoming headers.
struct Belief {
    chain: Chain,
    client: IpAddr,
    /// `Forwarded` without what is not believed, if it is to be continued.
    forwarded: Option<String>,
}

impl Forwarding {
    /// The address of the client on whose behalf `peer` speaks.
    ///
    /// An untrusted peer is the client itself. A trusted one is believed: its `X-Forwarded-For` or
    /// `Forwarded` is walked from right to left to the first address that is not trusted; without
    /// either, `X-Real-IP` counts. If both are there and name different clients, one of them was
    /// passed on unseen by a proxy that knows only the other, and neither is believed.
    /// IPv4-mapped IPv6 addresses are returned as IPv4.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if is_trusted(&self.trusted, peer) {
            self.believe(peer, headers).client
        } else {
            peer
        }
    }

    /// Replaces the incoming headers about the client by what is known of it, and returns the
    /// client's address as [`client`](Self::client) does.
    pub fn apply(&self, hop: &Hop<'_>, headers: &mut HeaderMap) -> IpAddr {
        let peer = hop.peer.to_canonical();
        if !is_trusted(&self.trusted, peer) {
            self.apply_untrusted(hop, peer, headers);
            return peer;
        }
        let belief = self.believe(peer, headers);
        if self.headers.x_forwarded_for {
            let hops = belief.chain.client_first().chain(std::iter::once(peer));
            headers.insert(X_FORWARDED_FOR.clone(), address_list(hops));
        }
        if self.headers.x_real_ip {
            let client = address_list(std::iter::once(belief.client));
            headers.insert(X_REAL_IP.clone(), client);
        }
        if self.headers.x_forwarded_proto && !has_one(headers, &X_FORWARDED_PROTO, is_scheme) {
            set_or_remove(headers, &X_FORWARDED_PROTO, self.proto(hop));
        }
        if self.headers.x_forwarded_host && !has_one(headers, &X_FORWARDED_HOST, is_host) {
            set_or_remove(headers, &X_FORWARDED_HOST, self.host(hop));
        }
        if self.headers.forwarded || headers.contains_key(FORWARDED) {
            set_forwarded(hop, peer, belief.forwarded.unwrap_or_default(), headers);
        }
        belief.client
    }

    /// Like [`apply`](Self::apply), for a request that has none of the headers about the client
    /// ([`Presence::tells_of_client`](super::Presence::tells_of_client)): the path of nearly every
    /// request, without a look-up or an allocation for the address.
    pub fn introduce(&self, hop: &Hop<'_>, headers: &mut HeaderMap) -> IpAddr {
        let peer = hop.peer.to_canonical();
        headers.reserve(INTRODUCTION_FIELDS);
        if self.headers.x_forwarded_for {
            headers.insert(X_FORWARDED_FOR.clone(), hop.peer_value.clone());
        }
        if self.headers.x_real_ip {
            headers.insert(X_REAL_IP.clone(), hop.peer_value.clone());
        }
        if let Some(proto) = self.proto(hop) {
            headers.insert(X_FORWARDED_PROTO.clone(), proto);
        }
        if let Some(host) = self.host(hop) {
            headers.insert(X_FORWARDED_HOST.clone(), host);
        }
        if self.headers.forwarded {
            set_forwarded(hop, peer, String::new(), headers);
        }
        peer
    }

    fn apply_untrusted(&self, hop: &Hop<'_>, peer: IpAddr, headers: &mut HeaderMap) {
        let address = || hop.peer_value.clone();
        let on = &self.headers;
        set_or_remove(headers, &X_FORWARDED_FOR, on.x_forwarded_for.then(address));
        set_or_remove(headers, &X_REAL_IP, on.x_real_ip.then(address));
        set_or_remove(headers, &X_FORWARDED_PROTO, self.proto(hop));
        set_or_remove(headers, &X_FORWARDED_HOST, self.host(hop));
        for other in &OTHERS {
            headers.remove(other);
        }
        if on.forwarded {
            set_forwarded(hop, peer, String::new(), headers);
        } else {
            headers.remove(FORWARDED);
        }
    }

    fn proto(&self, hop: &Hop<'_>) -> Option<HeaderValue> {
        let proto = HeaderValue::from_static(hop.scheme.as_str());
        self.headers.x_forwarded_proto.then_some(proto)
    }

    fn host(&self, hop: &Hop<'_>) -> Option<HeaderValue> {
        let is_set = self.headers.x_forwarded_host && !hop.host.is_empty();
        is_set.then(|| hop.host.clone())
    }

    fn believe(&self, peer: IpAddr, headers: &HeaderMap) -> Belief {
        let listed = Chain::of_x_forwarded_for(&self.trusted, headers);
        if !headers.contains_key(FORWARDED) {
            let chain = if headers.contains_key(&X_FORWARDED_FOR) {
                listed
            } else {
                Chain::of_x_real_ip(headers)
            };
            return Belief {
                client: chain.client().unwrap_or(peer),
                chain,
                forwarded: None,
            };
        }
        let elements = forwarded_elements(headers);
        let standard = Chain::of_forwarded(&self.trusted, &elements);
        let agree = !headers.contains_key(&X_FORWARDED_FOR) || listed.client() == standard.client();
        if !agree {
            return Belief {
                chain: Chain::of_forwarded(&[], &[]),
                client: peer,
                forwarded: None,
            };
        }
        Belief {
            client: standard.client().unwrap_or(peer),
            chain: standard,
            forwarded: Some(elements[elements.len() - standard.len()..].join(", ")),
        }
    }
}

/// An address as the value of a header; IPv4-mapped IPv6 as IPv4.
pub fn address_value(address: IpAddr) -> HeaderValue {
    address_list(std::iter::once(address.to_canonical()))
}

fn set_or_remove(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name.clone(), value),
        None => headers.remove(name),
    };
}

/// Whether there is exactly one such line and its value is sound.
fn has_one(headers: &HeaderMap, name: &HeaderName, is_sound: fn(&HeaderValue) -> bool) -> bool {
    let mut lines = headers.get_all(name).iter();
    lines.next().is_some_and(is_sound) && lines.next().is_none()
}

fn is_scheme(value: &HeaderValue) -> bool {
    value == "http" || value == "https"
}

fn is_host(value: &HeaderValue) -> bool {
    Authority::parse_bytes(value.as_bytes()).is_ok()
}

/// Appends this hop to the believed elements (RFC 7239 section 4).
fn set_forwarded(hop: &Hop<'_>, peer: IpAddr, mut elements: String, headers: &mut HeaderMap) {
    let separator = if elements.is_empty() { "" } else { ", " };
    let proto = hop.scheme.as_str();
    let written = match peer {
        IpAddr::V4(peer) => write!(elements, "{separator}for={peer};proto={proto}"),
        // Section 6: the brackets and colons are no token.
        IpAddr::V6(peer) => write!(elements, "{separator}for=\"[{peer}]\";proto={proto}"),
    };
    written.expect("writing to a string cannot fail");
    if is_host(hop.host)
        && let Ok(host) = hop.host.to_str()
    {
        write!(elements, ";host=\"{host}\"").expect("writing to a string cannot fail");
    }
    let value = HeaderValue::try_from(elements)
        .expect("made of sound header values, addresses and a valid host");
    headers.insert(FORWARDED, value);
}
