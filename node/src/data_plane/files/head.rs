//! The head of an answer, and which bytes come after it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use weir_core::cache::conditional::{Condition, strip_representation};
use weir_core::cache::range::{self, Multipart, Part};
use weir_core::cache::{UnixMs, Validators, http_date};
use weir_core::content_coding::{AcceptEncoding, Coding, add_accept_encoding};
use weir_core::files::Stamp;

use super::super::answer::Reason;
use super::ahead::Source;
use super::body::Piece;
use super::disk::Content;

/// What is known of a file beside its bytes.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) content_type: HeaderValue,
    /// The file itself, then what was compressed of it, the most wanted first.
    pub(super) variants: Vec<(Coding, Stamp)>,
}

impl Facts {
    /// The variant for a client; one that takes none gets the file itself.
    pub(super) fn choose(&self, accept: &AcceptEncoding) -> (Coding, Stamp) {
        let coded: Vec<Coding> = self.variants[1..]
            .iter()
            .map(|(coding, _)| *coding)
            .collect();
        let chosen = accept.choose(&coded).unwrap_or(Coding::Identity);
        let found = self.variants.iter().find(|(coding, _)| *coding == chosen);
        *found.unwrap_or(&self.variants[0])
    }

    /// Whether all of it may be believed for a while.
    pub(super) fn are_settled(&self, now: UnixMs) -> bool {
        self.variants.iter().all(|(_, stamp)| stamp.is_settled(now))
    }
}

/// What answers.
pub(super) struct Looked {
    pub(super) facts: Facts,
    pub(super) coding: Coding,
    pub(super) stamp: Stamp,
    pub(super) content: Content,
}

impl Looked {
    /// These bytes.
    fn piece(&self, range: Range<u64>) -> Piece {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        match &self.content {
            Content::Memory(bytes) => Piece::Held(bytes.slice(at(range.start)..at(range.end))),
            Content::Disk(_) => Piece::Read(range),
        }
    }
}

/// An answer, with what its body is made of.
pub(super) struct Parts {
    pub(super) response: Response<()>,
    pub(super) pieces: VecDeque<Piece>,
    /// Where pieces are read from that are not held.
    pub(super) source: Option<Source>,
}

/// Sends a client from a directory's name to the directory: relative to where it is, so that nothing in the path can
/// lead elsewhere, and whatever a route made of the path before.
pub(super) fn with_slash(uri: &Uri) -> Parts {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}"));
    let location = format!("./{name}/{}", query.unwrap_or_default());
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    insert(response.headers_mut(), LOCATION, &location);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Parts {
        response,
        pieces: VecDeque::new(),
        source: None,
    }
}

/// What is asked of a file that is there.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) request: &'a HeaderMap,
    pub(super) now: UnixMs,
    pub(super) cache_control: Option<&'a HeaderValue>,
}

impl Asked<'_> {
    /// The answer, in the order of RFC 9110 section 13.2.2: conditions, then ranges.
    ///
    /// # Errors
    /// [`Reason::PreconditionFailed`].
    pub(super) fn response(
        &self,
        looked: &Looked,
        boundary: impl FnOnce() -> String,
    ) -> Result<(Response<()>, VecDeque<Piece>), Reason> {
        let (stamp, now) = (&looked.stamp, self.now);
        let etag = stamp.etag(looked.coding, now);
        let validators = Validators {
            etag: Some(&etag),
            last_modified: Some(stamp.last_modified(now)),
            date: stamp.dated_at(now),
            now,
        };
        if validators.fail(self.request) {
            return Err(Reason::PreconditionFailed);
        }
        let mut response = Response::new(());
        *response.headers_mut() = self.headers(looked, &etag);
        if validators.condition(self.request) == Condition::NotModified {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            strip_representation(response.headers_mut());
            return Ok((response, VecDeque::new()));
        }
        let part = range::select_by(self.method, self.request, &validators, stamp.bytes);
        let (status, mut pieces) = parts(looked, part, response.headers_mut(), boundary);
        *response.status_mut() = status;
        if *self.method == Method::HEAD {
            pieces.clear();
        }
        Ok((response, pieces))
    }

    fn headers(&self, looked: &Looked, etag: &HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, looked.facts.content_type.clone());
        headers.insert(ETAG, etag.clone());
        let modified = http_date(looked.stamp.last_modified(self.now));
        insert(&mut headers, LAST_MODIFIED, &modified);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(value) = self.cache_control {
            headers.insert(CACHE_CONTROL, value.clone());
        }
        if looked.coding != Coding::Identity {
            let name = HeaderValue::from_static(looked.coding.name());
            headers.insert(CONTENT_ENCODING, name);
        }
        if looked.facts.variants.len() > 1 {
            add_accept_encoding(&mut headers);
        }
        headers
    }
}

/// Status and bytes of a part; its headers are added.
fn parts(
    looked: &Looked,
    part: Part,
    headers: &mut HeaderMap,
    boundary: impl FnOnce() -> String,
) -> (StatusCode, VecDeque<Piece>) {
    let total = looked.stamp.bytes;
    let (status, length, pieces) = match part {
        Part::Whole => (
            StatusCode::OK,
            total,
            VecDeque::from([looked.piece(0..total)]),
        ),
        Part::Single(bytes) => {
            insert(headers, CONTENT_RANGE, &range::content_range(&bytes, total));
            let length = bytes.end - bytes.start;
            let pieces = VecDeque::from([looked.piece(bytes)]);
            (StatusCode::PARTIAL_CONTENT, length, pieces)
        }
        Part::Multiple(ranges) => {
            let (boundary, inner) = (boundary(), headers.remove(CONTENT_TYPE));
            let multipart = Multipart::of_type(inner.as_ref(), &boundary, total);
            insert(headers, CONTENT_TYPE, &multipart.content_type());
            let length = multipart.content_length(&ranges);
            let mut pieces = VecDeque::new();
            for bytes in ranges {
                pieces.push_back(Piece::Held(multipart.head(&bytes).into()));
                pieces.push_back(looked.piece(bytes));
            }
            pieces.push_back(Piece::Held(Bytes::from(multipart.end())));
            (StatusCode::PARTIAL_CONTENT, length, pieces)
        }
        Part::Unsatisfiable => {
            strip_representation(headers);
            let text = range::content_range_unsatisfiable(total);
            insert(headers, CONTENT_RANGE, &text);
            (StatusCode::RANGE_NOT_SATISFIABLE, 0, VecDeque::new())
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    (status, pieces)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
