//! A stored response as this client gets it: whole, a part, 304, or its head alone.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use weir_cache::{Entry, EntryReader, FillReader, PIECE_BYTES_MAX};
use weir_core::cache::conditional::{self, Condition};
use weir_core::cache::range::{self, Part};
use weir_core::cache::{self, CACHE_STATUS, CacheStatus, Stored, UnixMs};
use weir_core::content_coding::{Coding, code_headers};
use weir_core::purge::{Hlc, Verdict};

use super::super::body::ResponseBody;
use super::super::compress::Offer;
use super::super::core::Core;
use super::super::exchange::Exchange;
use super::body::{CachedBody, FillingPart, Source};
use super::coded;
use super::parts::Parts;
use super::peers::{FETCHED_AT, KEY, STALE, fetched_at_value, key_value};
use super::wish::Wish;

/// Where a response is.
pub(super) enum Held {
    /// Kept, whole.
    Whole(Arc<Entry>),
    /// Still coming.
    Coming(FillReader),
}

impl Held {
    pub(super) fn stored(&self) -> &Stored {
        match self {
            Self::Whole(entry) => &entry.stored,
            Self::Coming(reader) => &reader.fill().stored,
        }
    }

    fn fetched_at(&self) -> Hlc {
        match self {
            Self::Whole(entry) => entry.fetched_at,
            Self::Coming(reader) => reader.fill().fetched_at,
        }
    }

    pub(super) fn body_bytes(&self) -> Option<u64> {
        match self {
            Self::Whole(entry) => Some(entry.body_bytes),
            Self::Coming(reader) => reader.fill().content_length,
        }
    }
}

/// What another node is told beside the answer.
struct Hop {
    fetched_at: Hlc,
    /// It was purged softly.
    is_stale: bool,
}

impl Hop {
    fn of(held: &Held, core: &Core) -> Self {
        Self {
            fetched_at: held.fetched_at(),
            is_stale: match held {
                Held::Whole(entry) => core.parts.cache.verdict(entry) != Verdict::Valid,
                Held::Coming(_) => false,
            },
        }
    }

    fn tell(&self, headers: &mut HeaderMap) {
        if let Some(at) = fetched_at_value(self.fetched_at) {
            headers.insert(&FETCHED_AT, at);
        }
        if self.is_stale {
            headers.insert(&STALE, HeaderValue::from_static("1"));
        }
    }
}

/// The response to a wish; `status` is its `Cache-Status`.
pub(super) fn answer(
    wish: &Wish,
    held: Held,
    status: Option<HeaderValue>,
    now: UnixMs,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let offer = coded::offer(wish, &held);
    let (age_s, hop) = (
        held.stored().age_s(now),
        wish.is_hop.then(|| Hop::of(&held, exchange.core())),
    );
    let known = not_modified(wish, offer, held.stored(), now);
    if let Some(offer) = &wish.offer
        && (known.is_some() || matches!(held, Held::Whole(_)))
    {
        offer.settle();
    }
    let mut response = match known {
        Some(headers) => {
            let mut response = Response::new(Source::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = headers;
            response
        }
        None => full(wish, offer, held, exchange.core()),
    };
    let headers = response.headers_mut();
    headers.insert(
        AGE,
        exchange.core().with_phrases(|phrases| phrases.age(age_s)),
    );
    if let Some(status) = status {
        headers.append(&CACHE_STATUS, status);
    }
    if let Some(hop) = hop {
        hop.tell(headers);
        tell_key(wish, headers);
    }
    exchange.answered(response.status());
    response.map(|source| ResponseBody::cached(CachedBody::new(source, exchange)))
}

/// Says what the cache did.
pub(super) fn mark(headers: &mut HeaderMap, status: &CacheStatus<'_>) {
    if let Some(value) = in_words(status) {
        headers.append(&CACHE_STATUS, value);
    }
}

/// Tells another node which key an answer is for.
pub(super) fn tell_key(wish: &Wish, headers: &mut HeaderMap) {
    if let Some(key) = key_value(&wish.key).filter(|_| wish.is_hop) {
        headers.insert(&KEY, key);
    }
}

/// Adds what is for the client alone whose request fetched the response.
pub(super) fn and_left_out(headers: &mut HeaderMap, left_out: HeaderMap) {
    let mut name = None;
    for (next, value) in left_out {
        name = next.or(name);
        if let Some(name) = &name {
            headers.append(name, value);
        }
    }
}

/// As a field says it.
pub(super) fn in_words(status: &CacheStatus<'_>) -> Option<HeaderValue> {
    HeaderValue::from_str(&status.to_string()).ok()
}

/// The headers of a 304, if the client has what is stored, in any coding that it takes.
fn not_modified(
    wish: &Wish,
    offer: Option<&Offer>,
    stored: &Stored,
    now: UnixMs,
) -> Option<HeaderMap> {
    if !wish.lookup.has_condition {
        return None;
    }
    let headers = |stored: &Stored| {
        let condition = conditional::evaluate(&wish.method, &wish.headers, stored, now);
        let is_known = condition == Condition::NotModified;
        is_known.then(|| conditional::not_modified_headers(stored))
    };
    let Some(offer) = offer else {
        return headers(stored);
    };
    let taken = offer.taken.iter();
    let mut coded = taken.filter_map(|coding| cache::coded(stored, *coding));
    coded.find_map(|stored| headers(&stored))
}

fn full(wish: &Wish, offer: Option<&Offer>, held: Held, core: &Rc<Core>) -> Response<Source> {
    let stored = held.stored();
    let part = part(wish, &held);
    let mut response = Response::new(Source::Empty);
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.answer_headers();
    if let (Some(offer), Held::Whole(entry)) = (offer, &held) {
        let is_whole = !wish.lookup.has_range;
        let form = is_whole.then(|| coded::form(offer, entry, core)).flatten();
        let coding = form
            .as_ref()
            .map_or(Coding::Identity, |(coding, _)| *coding);
        code_headers(response.headers_mut(), coding);
        if let Some((_, body)) = form {
            whole_form(wish, (entry, coding, body), core, &mut response);
            return response;
        }
    }
    match part {
        Part::Whole => whole(wish, held, core, &mut response),
        part => {
            if offer.is_some() {
                // Another client may get a coded whole.
                code_headers(response.headers_mut(), Coding::Identity);
            }
            partial(held, part, (wish.draw, core), &mut response);
        }
    }
    response
}

/// Which part answers. Of a body that still comes that is one part, and only if its length is known; more take the
/// whole.
fn part(wish: &Wish, held: &Held) -> Part {
    let Some(bytes) = held.body_bytes().filter(|_| wish.lookup.has_range) else {
        return Part::Whole;
    };
    match (
        range::select(&wish.method, &wish.headers, held.stored(), bytes),
        held,
    ) {
        (Part::Multiple(_), Held::Coming(_)) => Part::Whole,
        (part, _) => part,
    }
}

fn whole(wish: &Wish, held: Held, core: &Core, response: &mut Response<Source>) {
    if wish.method == Method::HEAD {
        if let Some(bytes) = held.body_bytes() {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        return;
    }
    *response.body_mut() = match held {
        Held::Whole(entry) => {
            let bytes = entry.body_bytes;
            Source::Stored(EntryReader::new(entry, &core.parts.cache.fills), bytes)
        }
        Held::Coming(reader) => Source::Filling(reader),
    };
}

fn whole_form(
    wish: &Wish,
    (entry, coding, body): (&Arc<Entry>, Coding, Bytes),
    core: &Core,
    response: &mut Response<Source>,
) {
    if wish.method == Method::HEAD {
        let length = HeaderValue::from(body.len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
    } else {
        *response.body_mut() = match body.len() {
            ..=PIECE_BYTES_MAX => Source::Bytes(body),
            bytes => {
                let (entry, budget) = (Arc::clone(entry), &core.parts.cache.fills);
                Source::Parts(Box::new(Parts::coded(entry, coding, bytes, budget)))
            }
        };
    }
}

fn partial(held: Held, part: Part, (draw, core): (u64, &Core), response: &mut Response<Source>) {
    let budget = &core.parts.cache.fills;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    let total = held.body_bytes().unwrap_or_default();
    let body = match (part, held) {
        (Part::Single(bytes), held) => {
            insert(headers, CONTENT_RANGE, &range::content_range(&bytes, total));
            match held {
                Held::Whole(entry) => Source::Parts(Box::new(Parts::single(entry, &bytes, budget))),
                Held::Coming(reader) => Source::FillingPart(FillingPart::new(reader, &bytes)),
            }
        }
        (Part::Multiple(ranges), Held::Whole(entry)) => {
            let parts = Parts::multiple(entry, &ranges, draw, headers, budget);
            Source::Parts(Box::new(parts))
        }
        _ => {
            *headers = HeaderMap::new();
            insert(
                headers,
                CONTENT_RANGE,
                &range::content_range_unsatisfiable(total),
            );
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return;
        }
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.body_mut() = body;
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
