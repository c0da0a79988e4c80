//! What is kept for one request, and why.

use std::sync::Arc;

use http::header::AGE;
use weir_cache::{Entry, FlightOf, Found, Resource, is_personal};
use weir_core::cache::{self, Bypass, Exchange, Lookup, Policy, UnixMs, strip_unkeyed};
use weir_core::proxy::Scheme;
use weir_core::purge::Verdict;
use weir_proto::node::v1 as pb;

use super::resolve::Resolved;
use super::{CacheApi, Error, verdict_name};
use crate::config::RouteCache;

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: u64 = 1 << 20;

impl CacheApi {
    /// What is kept for a request.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotKept`].
    pub fn entry(&self, request: &pb::CachedRequest) -> Result<pb::CachedAnswer, Error> {
        if request.body_bytes_max > BODY_BYTES_MAX {
            let why = format!(
                "{} is out of bounds (0 to {BODY_BYTES_MAX})",
                request.body_bytes_max
            );
            return Err(Error::invalid("body_bytes_max", why));
        }
        let mut resolved = self.resolve(&request.url, &request.method, &request.headers)?;
        strip_unkeyed(&mut resolved.headers);
        let not_kept = || Error::NotKept {
            uri: request.url.clone(),
        };
        let cache = resolved.cache.as_ref().ok_or_else(not_kept)?;
        let now = self.now();
        match self.find(&resolved, cache)?.1 {
            Found::Entry(entry, verdict) => {
                Ok(answer(&entry, verdict, now, request.body_bytes_max))
            }
            Found::OtherVariants | Found::Nothing => Err(not_kept()),
        }
    }

    /// Why the answer to a request is kept, or is not.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn explain(&self, request: &pb::CachedRequest) -> Result<pb::CacheExplanation, Error> {
        let mut resolved = self.resolve(&request.url, &request.method, &request.headers)?;
        strip_unkeyed(&mut resolved.headers);
        let mut told = pb::CacheExplanation {
            route: resolved.route.clone(),
            ..pb::CacheExplanation::default()
        };
        let policy = match policy(&resolved) {
            Ok(policy) => policy,
            Err(why) => {
                why.clone_into(&mut told.passes_by);
                return Ok(told);
            }
        };
        if let Some(cache) = &resolved.cache {
            let (resource, found) = self.find(&resolved, cache)?;
            resource.key.uri().clone_into(&mut told.key);
            cache.namespace.as_ref().clone_into(&mut told.namespace);
            if matches!(found, Found::Nothing) {
                told.not_kept = self.why_not_kept(&resolved, cache)?;
            }
            self.judged(&mut told, &resolved, &policy, found);
        }
        Ok(told)
    }

    /// What is kept for the URL as it is written, else for the same with the other scheme: whether clients reach the
    /// node through somebody who speaks TLS for it, and says so, people seldom know.
    fn find(&self, resolved: &Resolved, cache: &RouteCache) -> Result<(Resource, Found), Error> {
        let look = |scheme| -> Result<(Resource, Found), Error> {
            let resource = resolved.resource(cache, scheme)?;
            let found = self
                .store()
                .find(resource.key.as_str(), &resolved.headers, self.now());
            Ok((resource, found))
        };
        let own = look(resolved.scheme)?;
        match own.1 {
            Found::Nothing => {
                let other = look(other(resolved.scheme))?;
                Ok(if matches!(other.1, Found::Nothing) {
                    own
                } else {
                    other
                })
            }
            _ => Ok(own),
        }
    }

    /// Why the last answer was not kept, by either scheme, as long as that is remembered; else empty.
    fn why_not_kept(&self, resolved: &Resolved, cache: &RouteCache) -> Result<String, Error> {
        for scheme in [resolved.scheme, other(resolved.scheme)] {
            let key = resolved.resource(cache, scheme)?.key;
            let flight = FlightOf {
                key: &key,
                is_personal: is_personal(&resolved.headers),
                directives: None,
                variant: None,
            };
            if let Some(why) = self.store().why_solo(&flight.id(), self.now()) {
                return Ok(why.to_string());
            }
        }
        Ok(String::new())
    }

    fn judged(
        &self,
        told: &mut pb::CacheExplanation,
        resolved: &Resolved,
        policy: &Policy,
        found: Found,
    ) {
        let (entry, verdict) = match found {
            Found::Entry(entry, verdict) => (entry, verdict),
            Found::OtherVariants => {
                "other-variants".clone_into(&mut told.kept);
                return;
            }
            Found::Nothing => {
                "nothing".clone_into(&mut told.kept);
                return;
            }
        };
        "kept".clone_into(&mut told.kept);
        verdict_name(verdict).clone_into(&mut told.verdict);
        let stored = &entry.stored;
        let mut response = stored.headers.clone();
        // Counted anew at each answer, so it is not among the fields.
        let age_s = stored.age_s(stored.responded_at);
        if age_s > 0 {
            response.insert(AGE, age_s.into());
        }
        let exchange = Exchange {
            method: &resolved.method,
            path_and_query: resolved.target.as_str(),
            request: &resolved.headers,
            status: stored.status,
            response: &response,
            requested_at: stored.requested_at,
            responded_at: stored.responded_at,
        };
        let steps = cache::explain(&exchange, policy, self.now()).into_iter();
        told.steps = steps
            .map(|step| pb::CacheStep {
                what: step.what,
                found: step.found,
                effect: step.effect,
            })
            .collect();
    }
}

const fn other(scheme: Scheme) -> Scheme {
    match scheme {
        Scheme::Http => Scheme::Https,
        Scheme::Https => Scheme::Http,
    }
}

/// What holds for a request, or why it passes by the cache.
fn policy(resolved: &Resolved) -> Result<Arc<Policy>, &'static str> {
    let cache = resolved.cache.as_ref().ok_or("the route has no cache")?;
    let policy = cache
        .policy(&resolved.path)
        .ok_or("a rule of the route says so")?;
    match Lookup::of(&resolved.method, &resolved.headers, policy) {
        Ok(_) => Ok(Arc::clone(policy)),
        Err(Bypass::Method) => Err("its method"),
        Err(Bypass::Content) => Err("it has content"),
        Err(Bypass::Cookie) => Err("it has a cookie"),
        Err(Bypass::Precondition) => Err("its precondition"),
    }
}

fn answer(entry: &Entry, verdict: Verdict, now: UnixMs, body_bytes_max: u64) -> pb::CachedAnswer {
    let stored = &entry.stored;
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    let wanted = usize::try_from(body_bytes_max).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    for piece in &entry.body {
        let left = wanted - body.len();
        body.extend_from_slice(&piece[..piece.len().min(left)]);
    }
    pb::CachedAnswer {
        key: entry.resource.key.uri().to_owned(),
        status: stored.status.as_u16().into(),
        headers: stored.headers.iter().map(line).collect(),
        age_s: stored.age_s(now),
        ttl_s: stored.fresh_s(now),
        verdict: verdict_name(verdict).to_owned(),
        body_bytes: entry.body_bytes,
        body,
        cost_bytes: entry.cost_bytes(),
        tags: u32::try_from(entry.tags.len()).unwrap_or(u32::MAX),
    }
}
