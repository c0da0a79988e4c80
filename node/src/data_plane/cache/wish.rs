//! What a request wants of the cache.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, COOKIE, PRAGMA};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::body::Body;
use weir_cache::{FlightOf, Resource, is_personal};
use weir_core::cache::{Bypass, Key, Lookup, Policy, RequestDirectives, Target, strip_unkeyed};
use weir_core::content_coding::Coding;
use weir_core::proxy;

use super::super::compress::Offer;
use super::super::core::Core;
use super::super::request::Routed;
use super::peers;

/// Why a request passes by the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassBy {
    /// By the rules of HTTP or of the route.
    Request(Bypass),
    /// A rule for its path.
    Rule,
    /// A trusted proxy says another host than the request is for, which backends may heed and no key tells of.
    ForwardedHost,
    /// Its key would be too long.
    KeyTooLong,
}

impl PassBy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Request(Bypass::Method) => "method",
            Self::Request(Bypass::Content) => "content",
            Self::Request(Bypass::Cookie) => "cookie",
            Self::Request(Bypass::Precondition) => "precondition",
            Self::Rule => "rule",
            Self::ForwardedHost => "forwarded-host",
            Self::KeyTooLong => "key-too-long",
        }
    }
}

/// A request that the cache may answer.
pub(super) struct Wish {
    pub(super) policy: Arc<Policy>,
    pub(super) lookup: Lookup,
    pub(super) method: Method,
    /// As the client sent them, without what could change the answer and not the key.
    pub(super) headers: HeaderMap,
    pub(super) key: Key,
    pub(super) target: PathAndQuery,
    /// Another node of the mesh asks.
    pub(super) is_hop: bool,
    /// What is kept answers only if it stays fresh for so many seconds, whatever the route says of directives.
    pub(super) min_fresh_s: u32,
    /// At random, for what must not occur in a body.
    pub(super) draw: u64,
    /// In which codings the client takes the answer.
    pub(super) offer: Option<Rc<Offer>>,
}

impl Wish {
    /// The wish of a request to a route with a cache.
    pub(super) fn of<B: Body>(
        routed: &Routed,
        request: &mut Request<B>,
        is_hop: bool,
        core: &Core,
    ) -> Result<Self, PassBy> {
        let Some(cache) = &routed.settings().cache else {
            return Err(PassBy::Rule);
        };
        if routed.facing.has_other_host {
            return Err(PassBy::ForwardedHost);
        }
        let policy = cache.policy(request.uri().path()).ok_or(PassBy::Rule)?;
        let lookup = Lookup::of(request.method(), request.headers(), policy);
        let mut lookup = lookup.map_err(PassBy::Request)?;
        let min_fresh_s = match is_hop {
            true => peers::min_fresh_s(request.headers()),
            false => 0,
        };
        want_fresh(&mut lookup, min_fresh_s);
        if !request.body().is_end_stream() {
            return Err(PassBy::Request(Bypass::Content));
        }
        let target = request.uri().path_and_query();
        let target = target
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let key = Target {
            namespace: &cache.namespace,
            scheme: routed.facing.scheme,
            authority: &routed.facing.authority,
            path_and_query: target.as_str(),
        };
        let key = Key::of_in(&key, core.spare_key());
        let key = key.map_err(|_| PassBy::KeyTooLong)?;
        // Whoever is asked is told the host by a field, whatever form the client's target had.
        if request.uri().authority().is_some() {
            let uri = request.uri().clone();
            proxy::pin_host(&uri, request.headers_mut());
        }
        strip_unkeyed(request.headers_mut());
        let coding = routed.offer.as_ref().map(|offer| offer.chosen());
        if let Some(coding) = coding.filter(|coding| *coding != Coding::Identity) {
            // The many ways of browsers to say it become one variant for each coding.
            let name = HeaderValue::from_static(coding.name());
            request.headers_mut().insert(ACCEPT_ENCODING, name);
        }
        Ok(Self {
            policy: Arc::clone(policy),
            lookup,
            method: request.method().clone(),
            headers: std::mem::take(request.headers_mut()),
            key,
            target,
            is_hop,
            min_fresh_s,
            draw: core.with_rng(|rng| rng.u64(..)),
            offer: routed.offer.clone().filter(|_| !is_hop),
        })
    }

    /// The same for whoever wants what is fresh for longer.
    pub(super) fn fresh_for(mut self, min_fresh_s: u32) -> Self {
        want_fresh(&mut self.lookup, min_fresh_s);
        self.min_fresh_s = min_fresh_s;
        self
    }

    /// The same of nobody in particular: what is fetched beside an answer is for everybody.
    pub(super) fn anonymous(&self) -> Self {
        let mut headers = self.headers.clone();
        for of_the_client in [AUTHORIZATION, COOKIE, CACHE_CONTROL, PRAGMA] {
            headers.remove(of_the_client);
        }
        Self {
            policy: Arc::clone(&self.policy),
            lookup: Lookup {
                directives: None,
                ..self.lookup
            },
            method: self.method.clone(),
            headers,
            key: self.key.clone(),
            target: self.target.clone(),
            is_hop: self.is_hop,
            min_fresh_s: self.min_fresh_s,
            draw: self.draw,
            offer: self.offer.clone(),
        }
    }

    pub(super) fn resource(&self, routed: &Routed) -> Resource {
        let namespace = routed
            .settings()
            .cache
            .as_ref()
            .map_or("", |cache| &cache.namespace);
        Resource::new(
            self.key.clone(),
            namespace,
            &routed.facing.authority,
            self.target.as_str(),
        )
    }

    /// Whether another node that is asked for the same as the origin is would take it for this. It believes what this
    /// one says of the client, the scheme included ([`super::super::request`]).
    pub(super) fn is_plain(&self, routed: &Routed) -> bool {
        let route = routed.route();
        let is_edited = !route.rewrite.is_empty()
            || !route.request_edits.is_empty()
            || !route.response_edits.is_empty();
        !is_edited && !self.is_personal()
    }

    /// Whether it says who asks.
    pub(super) fn is_personal(&self) -> bool {
        is_personal(&self.headers)
    }

    /// Which flight a fetch for it is.
    pub(super) fn flight_id(&self, variant: Option<&[u8]>) -> Vec<u8> {
        let flight = FlightOf {
            key: &self.key,
            is_personal: self.is_personal(),
            directives: self.lookup.directives.as_ref(),
            variant,
        };
        flight.id()
    }
}

fn want_fresh(lookup: &mut Lookup, min_fresh_s: u32) {
    if min_fresh_s > 0 {
        lookup.directives = Some(RequestDirectives {
            min_fresh_s: Some(min_fresh_s),
            ..RequestDirectives::default()
        });
    }
}
