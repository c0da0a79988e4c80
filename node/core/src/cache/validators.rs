//! What tells one representation from another (RFC 9110 section 8.8).

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::conditional::Condition;
use super::dates;
use super::etag::{Tag, tags};
use super::time::UnixMs;

/// The validators of what would answer, and when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// Its `ETag`, well-formed.
    pub etag: Option<&'a HeaderValue>,
    /// Its `Last-Modified`.
    pub last_modified: Option<UnixMs>,
    /// A time at which it was like this, if one is known: later than `last_modified`, it makes that one strong
    /// (RFC 9110 section 8.8.2.2).
    pub date: Option<UnixMs>,
    /// Decides the century of dates with two digits.
    pub now: UnixMs,
}

impl Validators<'_> {
    /// Whether `If-Match`, else `If-Unmodified-Since`, does not hold for what is there: 412 (RFC 9110 sections 13.1.1
    /// and 13.1.4). Comes before all other conditions (section 13.2.2).
    pub fn fail(&self, request: &HeaderMap) -> bool {
        if request.contains_key(IF_MATCH) {
            let ours = self.tag();
            return !request.get_all(IF_MATCH).iter().any(|line| {
                let line = line.as_bytes().trim_ascii();
                line == b"*" || ours.is_some_and(|ours| tags(line).any(|tag| tag.is(&ours)))
            });
        }
        let unchanged_since = self.only_date(request, &IF_UNMODIFIED_SINCE);
        unchanged_since
            .zip(self.last_modified)
            .is_some_and(|(since, modified)| modified > since)
    }

    /// What a read is answered: `If-None-Match` decides if there is one, else `If-Modified-Since`.
    pub fn condition(&self, request: &HeaderMap) -> Condition {
        let holds = match request.contains_key(IF_NONE_MATCH) {
            true => !self.are_known(request),
            false => self.are_newer(request),
        };
        match holds {
            true => Condition::Full,
            false => Condition::NotModified,
        }
    }

    /// Whether `If-Range` lets a part answer: only a strong validator that is the same does (RFC 9110 section 13.1.5).
    pub(super) fn allow_part(&self, request: &HeaderMap) -> bool {
        let mut lines = request.get_all(IF_RANGE).iter();
        let Some(line) = lines.next() else {
            return true;
        };
        if lines.next().is_some() {
            return false;
        }
        if let Some(asked) = Tag::of(line.as_bytes()) {
            return self.tag().is_some_and(|ours| ours.is(&asked));
        }
        let date = dates::parse(line.as_bytes(), self.now);
        // A date is strong if whatever it dates cannot have changed in the same second (RFC 9110 section 8.8.2.2).
        let is_strong = self
            .last_modified
            .zip(self.date)
            .is_some_and(|(modified, date)| date > modified);
        is_strong && date == self.last_modified
    }

    fn tag(&self) -> Option<Tag<'_>> {
        self.etag.and_then(|etag| Tag::of(etag.as_bytes()))
    }

    /// Whether the client has it, by `If-None-Match`.
    fn are_known(&self, request: &HeaderMap) -> bool {
        let ours = self.tag();
        request.get_all(IF_NONE_MATCH).iter().any(|line| {
            let line = line.as_bytes().trim_ascii();
            line == b"*" || ours.is_some_and(|ours| tags(line).any(|tag| tag.is_like(&ours)))
        })
    }

    /// Whether it is newer than what the client has, by `If-Modified-Since`.
    fn are_newer(&self, request: &HeaderMap) -> bool {
        let since = self.only_date(request, &IF_MODIFIED_SINCE);
        since
            .zip(self.last_modified)
            .is_none_or(|(since, changed)| changed > since)
    }

    /// The date in a field that has one line.
    fn only_date(&self, request: &HeaderMap, name: &HeaderName) -> Option<UnixMs> {
        let mut lines = request.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => dates::parse(line.as_bytes(), self.now),
            _ => None,
        }
    }
}
