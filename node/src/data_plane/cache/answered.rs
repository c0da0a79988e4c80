//! An answer to a fetch, and what is read from it.

use std::time::Duration;

use http::{HeaderMap, Method, Response};
use weir_core::cache::{CACHE_STATUS, Exchange as Seen, NotStored, Stored, UnixMs};
use weir_core::purge::{Hlc, tag_id};
use weir_core::surrogate::parse_tags;

use super::super::body::ResponseBody;
use super::wish::Wish;

/// Who answered a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answerer {
    /// The origin.
    Origin,
    /// The node of the mesh that asks for all; it had it, or asked the origin.
    Peer {
        /// It had it.
        hit: bool,
    },
}

/// An answer of the origin, or of the node that asks it for all.
pub(super) struct Answered {
    pub(super) from: Answerer,
    pub(super) response: Response<ResponseBody>,
    pub(super) requested_at: UnixMs,
    pub(super) responded_at: UnixMs,
    pub(super) fetched_at: Hlc,
    /// Whoever answered knew that it is stale, whatever its fields say.
    pub(super) is_stale: bool,
}

impl Answered {
    /// As the rules look at it.
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

/// The tags of an answer, as purges compare them.
pub(super) fn tags(wish: &Wish, response: &HeaderMap) -> Result<Box<[u64]>, NotStored> {
    let tags = parse_tags(response).map_err(|problem| {
        tracing::debug!(key = wish.key.as_str(), %problem, "not stored");
        NotStored::Tags
    })?;
    let namespace = wish.key.namespace();
    Ok(tags.iter().map(|tag| tag_id(namespace, tag)).collect())
}

/// The lifetime that a rule gives does not begin again with each copy.
pub(super) fn count_from_birth(stored: &mut Stored, ttl: Option<Duration>) {
    let Some(ttl) = ttl else {
        return;
    };
    let ends = stored.born_at.after(ttl);
    let over = stored.fresh_until.since(ends);
    for until in [
        &mut stored.fresh_until,
        &mut stored.swr_until,
        &mut stored.sie_until,
        &mut stored.disconnected_until,
        &mut stored.keep_until,
    ] {
        *until = until.before(over);
    }
}

/// Whether a node says that it had the answer; what it says is not for clients, whom this node tells.
pub(super) fn tells_of_hit(headers: &mut HeaderMap) -> bool {
    let told = headers.remove(&CACHE_STATUS);
    told.is_some_and(|told| told.as_bytes().windows(5).any(|part| part == b"; hit"))
}
