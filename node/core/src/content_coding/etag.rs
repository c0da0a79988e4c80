//! Entity tags of variants (RFC 9110 section 8.8.3).

use http::HeaderValue;

use super::Coding;

/// The entity tag of a variant: a strong one is of one coding, so `"x"` becomes `"x-br"`; a weak one is of all.
pub fn coded_etag(etag: &HeaderValue, coding: Coding) -> HeaderValue {
    panic!("not written yet: {etag:?} {coding:?}")
}

/// The entity tags of an `If-None-Match` or `If-Match` as the origin knows them: without what [`coded_etag`] put there.
pub fn origin_etags(etags: &HeaderValue) -> HeaderValue {
    panic!("not written yet: {etags:?}")
}
