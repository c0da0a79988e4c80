//! What was answered to a fetch, and when.

use http::{Method, Response};
use weir_core::cache::{Exchange as Seen, UnixMs};
use weir_core::purge::Hlc;

use super::super::super::body::ResponseBody;
use super::super::wish::Wish;
use super::Answerer;

/// An answer of the origin, or of the node that asks it for all.
pub(super) struct Answered {
    pub(super) from: Answerer,
    pub(super) response: Response<ResponseBody>,
    pub(super) requested_at: UnixMs,
    pub(super) responded_at: UnixMs,
    pub(super) fetched_at: Hlc,
}

impl Answered {
    pub(super) fn seen<'a>(&'a self, wish: &'a Wish) -> Seen<'a> {
        Seen {
            method: &Method::GET,
            path_and_query: wish.target.as_str(),
            request: &wish.headers,
            status: self.response.status(),
            response: self.response.headers(),
            requested_at: self.requested_at,
            responded_at: self.responded_at,
        }
    }
}
