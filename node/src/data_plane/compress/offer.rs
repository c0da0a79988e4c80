//! In which codings the answer to one request may be.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use weir_cache::codings::{Encoder, Level};
use weir_core::content_coding::{
    AcceptEncoding, Coding, CompressionRules, Representation, code_headers, coded_etag,
    is_no_transform, names_etag, origin_etags,
};

use super::super::core::Core;
use super::Room;
use crate::config::{Ingress, RouteCompression};
use crate::telemetry::compression::Compressed;

/// What route, client and operator agree on; nothing is offered where one of them wants no coding.
pub(in super::super) struct Offer {
    route: RouteCompression,
    ingress: Arc<Ingress>,
    /// What the client takes, the most wanted first; identity is among them unless it refuses that.
    pub(in super::super) taken: Vec<Coding>,
    if_none_match: Vec<HeaderValue>,
    pub(super) is_head: bool,
    is_settled: Cell<bool>,
}

impl Offer {
    /// The offer for a request, as its client sent it, under the newest knobs.
    pub(in super::super) fn of<B>(
        core: &Core,
        route: &RouteCompression,
        request: &Request<B>,
    ) -> Option<Rc<Self>> {
        let ingress = core.ingress();
        let headers = request.headers();
        let codings = &ingress.compression.codings;
        if codings.is_empty() || is_no_transform(headers) {
            return None;
        }
        let taken = AcceptEncoding::of(headers).taken(codings).collect();
        Some(Rc::new(Self {
            route: route.clone(),
            taken,
            if_none_match: headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
            is_head: *request.method() == Method::HEAD,
            is_settled: Cell::new(false),
            ingress,
        }))
    }

    /// What the client wants most; identity if it takes nothing that there is.
    pub(in super::super) fn chosen(&self) -> Coding {
        self.taken.first().copied().unwrap_or(Coding::Identity)
    }

    pub(in super::super) fn level(&self) -> Level {
        Level::new(self.ingress.compression.level)
    }

    /// Whether this answer may be coded at all.
    pub(in super::super) fn allows(&self, answer: &Representation<'_>) -> bool {
        let rules = CompressionRules {
            bytes_min: self.ingress.compression.bytes_min,
            bytes_max: self.ingress.compression.bytes_max,
            types: &self.route.types,
        };
        rules.check(answer).is_ok()
    }

    /// Nothing further is to be done with the answer.
    pub(in super::super) fn settle(&self) {
        self.is_settled.set(true);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    /// Lets the origin know its tags in conditions about coded forms.
    pub(in super::super) fn tell_origin(&self, headers: &mut HeaderMap) {
        add_origin_etags(headers, &IF_NONE_MATCH, &self.taken);
        // What the client has is what it changes, in whatever coding it has that.
        add_origin_etags(headers, &IF_MATCH, &Coding::MADE);
    }

    /// Makes the tag of an origin's 304 the one that the client asked with.
    pub(super) fn retag(&self, headers: &mut HeaderMap) {
        let Some(etag) = headers.get(ETAG) else {
            return;
        };
        let is_known = |coding: &&Coding| {
            let coded = coded_etag(etag, **coding);
            self.if_none_match
                .iter()
                .any(|list| names_etag(list, &coded))
        };
        if let Some(coding) = self.taken.iter().find(is_known)
            && *coding != Coding::Identity
        {
            code_headers(headers, *coding);
            headers.remove(http::header::CONTENT_ENCODING);
        }
    }

    /// A compressor for the answer, of the coding that the client wants most of those for which there is room. `None`:
    /// it goes as it is.
    pub(super) fn encoder(&self, core: &Rc<Core>) -> Option<(Encoder, Room)> {
        if self.chosen() == Coding::Identity {
            return None;
        }
        let made = self.taken.iter().copied();
        let made = made.filter(|coding| *coding != Coding::Identity);
        let begin = |coding| {
            let room = Room::take(core, coding, self.level())?;
            let encoder = Encoder::new(coding, self.level());
            let encoder = encoder
                .inspect_err(|error| tracing::warn!(%error, "not compressed"))
                .ok()?;
            Some((encoder, room))
        };
        let metrics = &core.metrics().compression;
        let begun = made.into_iter().find_map(begin);
        match &begun {
            Some((encoder, _)) => {
                let counter = metrics.compressions(encoder.coding(), Compressed::Stream);
                counter.increment();
            }
            None => metrics.without_room.increment(),
        }
        begun
    }
}

fn add_origin_etags(headers: &mut HeaderMap, name: &HeaderName, codings: &[Coding]) {
    let lines = headers.get_all(name).iter();
    let told: Vec<_> = lines.map(|line| origin_etags(line, codings)).collect();
    if told.iter().all(Option::is_none) {
        return;
    }
    let lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for (line, told) in lines.into_iter().zip(told) {
        headers.append(name, told.unwrap_or(line));
    }
}
