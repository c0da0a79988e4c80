//! Why a response is stored and until when it is good for what, for people.

use http::HeaderMap;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, DATE, EXPIRES, HeaderName, LAST_MODIFIED,
    SET_COOKIE, VARY,
};

use crate::text::printable;

use super::directives::Deciding;
use super::freshness::Source;
use super::policy::Policy;
use super::storage::{self, NotStored};
use super::stored::{Exchange, Stored};
use super::time::UnixMs;
use super::vary::VARIANT_BYTES_MAX;

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 200;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at, such as `cache-control` or `lifetime`.
    pub what: String,
    /// What was found, printable and cut.
    pub found: String,
    /// What follows.
    pub effect: String,
}

/// The steps by which a response is judged, in order; the last one is the verdict as of `now`.
pub fn explain(exchange: &Exchange<'_>, policy: &Policy, now: UnixMs) -> Vec<Step> {
    let deciding = Deciding::of(exchange.response, &policy.targets);
    let mut steps = vec![
        step("method", exchange.method.as_str(), ""),
        step("status", exchange.status.as_str(), ""),
    ];
    for name in [AUTHORIZATION, COOKIE] {
        if exchange.request.contains_key(&name) {
            let effect = "the response has to say that it is for everybody";
            steps.push(step(&format!("request {name}"), "present", effect));
        }
    }
    fields(&mut steps, exchange.response, &deciding, policy);
    let verdict = storage::store(exchange, policy);
    if let Ok(stored) = &verdict {
        lives(&mut steps, stored);
    }
    steps.push(judge(&verdict, now));
    steps
}

/// The fields that decide, and those that another one keeps from it.
fn fields(steps: &mut Vec<Step>, response: &HeaderMap, deciding: &Deciding, policy: &Policy) {
    let target = deciding.target.as_ref();
    for name in &policy.targets {
        let effect = match target {
            Some(target) if target == name => format!("decides: {}", deciding.directives),
            Some(_) => "not looked at: a more specific field decides".to_owned(),
            None => "ignored: empty or no dictionary of structured fields".to_owned(),
        };
        show(steps, response, name, &effect);
    }
    let by_target = target.map(|name| format!("not looked at: {name} decides"));
    let cache_control = match &by_target {
        Some(effect) => effect.clone(),
        None => format!("read as: {}", deciding.directives),
    };
    show(steps, response, &CACHE_CONTROL, &cache_control);
    show(
        steps,
        response,
        &EXPIRES,
        by_target.as_deref().unwrap_or("counts without max-age"),
    );
    show(
        steps,
        response,
        &DATE,
        "tells how old the response was when it came",
    );
    show(steps, response, &AGE, "tells how long other caches held it");
    show(
        steps,
        response,
        &LAST_MODIFIED,
        "validates; a heuristic lifetime without explicit one",
    );
    show(
        steps,
        response,
        &VARY,
        "one variant for each value of these fields",
    );
    if response.contains_key(SET_COOKIE) {
        let effect = format!("policy: {:?}", policy.set_cookie).to_lowercase();
        steps.push(step("set-cookie", "present", &effect));
    }
}

/// What is stored, and until when it is good for what.
fn lives(steps: &mut Vec<Step>, stored: &Stored) {
    if let Some(variant) = &stored.variant {
        let key =
            String::from_utf8_lossy(&variant.key()[..variant.key().len().min(VARIANT_BYTES_MAX)]);
        steps.push(step(
            "variant",
            &key.replace('\n', "; "),
            "requests with these values take it",
        ));
    }
    let source = match stored.source {
        Source::Rule => "the route's ttl",
        Source::Targeted => "the targeted field",
        Source::SMaxAge => "s-maxage",
        Source::MaxAge => "max-age",
        Source::Expires => "Expires less Date",
        Source::Negative => "the policy for errors",
        Source::Heuristic => "a tenth of the time since Last-Modified",
        Source::None => "nothing",
    };
    let fresh_s = stored.fresh_until.since(stored.responded_at).as_secs();
    steps.push(step(
        "lifetime",
        source,
        &format!("fresh for {fresh_s} s from when it came"),
    ));
    let stale = match stored.flags.never_stale {
        true => "never".to_owned(),
        false => {
            let s = |until: UnixMs| until.since(stored.fresh_until).as_secs();
            format!(
                "{} s while it is validated, {} s instead of an error, {} s without an origin",
                s(stored.swr_until),
                s(stored.sie_until),
                s(stored.disconnected_until)
            )
        }
    };
    steps.push(step("stale", &stale, ""));
}

fn judge(verdict: &Result<Stored, NotStored>, now: UnixMs) -> Step {
    let stored = match verdict {
        Ok(stored) => stored,
        Err(reason) => return step("verdict", "not stored", &reason.to_string()),
    };
    let effect = match stored.fresh_s(now) {
        _ if stored.flags.no_cache => "validated at each use".to_owned(),
        fresh_s @ 0.. => format!("fresh for another {fresh_s} s"),
        stale => format!("stale for {} s", -stale),
    };
    step("verdict", "stored", &effect)
}

fn show(steps: &mut Vec<Step>, headers: &HeaderMap, name: &HeaderName, effect: &str) {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    if !lines.is_empty() {
        steps.push(step(name.as_str(), &lines.join(", "), effect));
    }
}

fn step(what: &str, found: &str, effect: &str) -> Step {
    let cut: String = found.chars().take(SHOWN_MAX).collect();
    Step {
        what: what.to_owned(),
        found: printable(&cut),
        effect: effect.to_owned(),
    }
}
