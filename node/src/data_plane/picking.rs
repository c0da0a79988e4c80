//! Which backend a request goes to.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, Request};
use tokio::time::Instant;
use weir_core::balance::{HashOn, Pick, Policy, hash_key, sticky};

use super::core::Core;
use super::request::Routed;
use super::routing::{Place, Service};

/// What of a request speaks for a certain backend.
pub(super) struct Affinity {
    hash: Option<u64>,
    /// The backend that the client's cookie names, while it takes work.
    stuck_to: Option<usize>,
}

/// A choice.
pub(super) struct Picked {
    /// Where the backend is in its service.
    pub(super) place: Place,
    /// Where it is among the service's candidates; absent when only a cookie leads there.
    pub(super) index: Option<usize>,
    /// Why, for traces.
    pub(super) why: &'static str,
    /// The `Set-Cookie` that keeps the client there.
    pub(super) cookie: Option<String>,
}

impl Affinity {
    pub(super) fn of<B>(core: &Core, routed: &Routed, request: &Request<B>) -> Self {
        let service = routed.service();
        let hash = match service.selector.policy() {
            Policy::ConsistentHash { .. } => {
                hash_of(&service.settings.hash_on, request, routed.client_address)
            }
            _ => None,
        };
        let stuck_to = service.stickiness.as_ref().and_then(|stickiness| {
            let value = cookie(request.headers(), stickiness.sticky.cookie_name())?;
            let now_unix = core.parts.clock.unix_now().as_secs();
            stickiness.sticky.find(value, &stickiness.tags, now_unix)
        });
        Self { hash, stuck_to }
    }

    /// The backend to try next, if one is left.
    pub(super) fn pick(
        &mut self,
        core: &Core,
        service: &Service,
        tried: &[usize],
        now: Instant,
    ) -> Option<Picked> {
        if let (Some(at), Some(stickiness)) = (self.stuck_to.take(), &service.stickiness) {
            let serial = stickiness.backends[at].serial;
            let index = service
                .candidates
                .iter()
                .position(|other| other.serial == serial);
            if let Some(index) = index {
                service.selector.given(index, core.index, now.into_std());
            }
            return Some(Picked {
                place: Place::Sticky(at),
                index,
                why: "sticky",
                cookie: None,
            });
        }
        let at = Pick {
            core: core.index,
            now: now.into_std(),
            hash: self.hash,
            tried,
        };
        let index = core.with_rng(|rng| service.selector.pick(at, rng))?;
        let cookie = service.stickiness.as_ref().map(|stickiness| {
            let now_unix = core.parts.clock.unix_at(now).as_secs();
            let sticky = &stickiness.sticky;
            let tag = sticky.tag(&service.candidates[index].id);
            sticky.set_cookie(&sticky.issue(tag, now_unix))
        });
        Some(Picked {
            place: Place::Candidate(index),
            index: Some(index),
            why: service.selector.policy().name(),
            cookie,
        })
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
