//! Which backend a request goes to.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, Request};
use tokio::time::Instant;
use weir_core::balance::{HashOn, Pick, Policy, hash_key, sticky};

use super::core::Core;
use super::request::Routed;
use super::routing::Service;

/// What of a request speaks for a certain backend.
pub(super) struct Affinity {
    hash: Option<u64>,
    /// The backend that the client's cookie names, while it takes work.
    stuck_to: Option<usize>,
}

/// A choice.
pub(super) struct Picked {
    /// Into the service's candidates.
    pub(super) index: usize,
    /// Why, for traces.
    pub(super) why: &'static str,
    /// The `Set-Cookie` that keeps the client there.
    pub(super) cookie: Option<String>,
}

impl Affinity {
    pub(super) fn of<B>(core: &Core, routed: &Routed, request: &Request<B>) -> Self {
        let service = &routed.service;
        let hash = match service.selector.policy() {
            Policy::ConsistentHash { .. } => {
                hash_of(&service.settings.hash_on, request, routed.client_address)
            }
            _ => None,
        };
        let stuck_to = service.sticky.as_ref().and_then(|sticky| {
            let value = cookie(request.headers(), sticky.cookie_name())?;
            sticky.find(value, service.selector.candidates(), core.parts.clock.unix_now().as_secs())
        });
        Self { hash, stuck_to }
    }

    pub(super) fn pick(
        &self,
        core: &Core,
        service: &Service,
        tried: &[usize],
        now: Instant,
    ) -> Option<Picked> {
        if let Some(index) = self.stuck_to.filter(|index| !tried.contains(index)) {
            return Some(Picked { index, why: "sticky", cookie: None });
        }
        let at = Pick { core: core.index, now: now.into_std(), hash: self.hash, tried };
        let index = core.with_rng(|rng| service.selector.pick(at, rng))?;
        let cookie = service.sticky.as_ref().map(|sticky| {
            let unix = core.parts.clock.unix_at(now).as_secs();
            sticky.set_cookie(&service.candidates[index].id, unix)
        });
        Some(Picked { index, why: service.selector.policy().name(), cookie })
    }
}

fn hash_of<B>(on: &HashOn, request: &Request<B>, client: IpAddr) -> Option<u64> {
    match on {
        HashOn::ClientAddress => Some(match client {
            IpAddr::V4(v4) => hash_key(&v4.octets()),
            IpAddr::V6(v6) => hash_key(&v6.octets()),
        }),
        HashOn::Path => Some(hash_key(request.uri().path().as_bytes())),
        HashOn::Header(name) => request.headers().get(name).map(|v| hash_key(v.as_bytes())),
        HashOn::Cookie(name) => cookie(request.headers(), name).map(|v| hash_key(v.as_bytes())),
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .find_map(|line| sticky::find_cookie(line, name))
}
