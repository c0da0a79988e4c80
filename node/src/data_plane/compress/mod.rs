//! Answers compressed for clients that take it.
//!
//! ```text
//! offer    in which codings the answer to one request may be         offer.rs
//! stream   an answer that is compressed on its way to one client     stream.rs
//! ```
//!
//! Answers of backends and bodies that are still being fetched are streams. What the cache keeps is compressed once,
//! beside the traffic (`cache/coded.rs`). Which answers, and what that does to their headers, is decided in
//! `weir_core::content_coding`.

mod offer;
mod stream;

use std::rc::Rc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use weir_core::content_coding::{Coding, Representation, code_headers};

use super::body::ResponseBody;
use super::connection::Client;
use super::core::Core;
pub(super) use offer::Offer;
use stream::Room;
pub(super) use stream::{Compressors, StreamBody};

/// Compresses an answer on its way to the client, unless the cache has seen to that.
pub(super) fn finish(
    core: &Rc<Core>,
    client: &Client,
    offer: &Offer,
    response: &mut Response<ResponseBody>,
) {
    if offer.is_settled() {
        return;
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        return offer.retag(response.headers_mut());
    }
    // An answer to HEAD has the length that one to GET would have, and no body.
    let in_body = || response.body().size_hint().exact();
    let bytes = content_length(response.headers());
    let bytes = bytes.or_else(|| if offer.is_head { None } else { in_body() });
    let is_allowed = offer.allows(&Representation {
        status: response.status(),
        headers: response.headers(),
        bytes,
    });
    if !is_allowed {
        return;
    }
    if offer.is_head {
        return code_headers(response.headers_mut(), offer.chosen());
    }
    let coding = match offer.encoder(core) {
        Some((encoder, room)) => {
            let body = std::mem::replace(response.body_mut(), ResponseBody::empty());
            let coding = encoder.coding();
            *response.body_mut() =
                ResponseBody::compressed(StreamBody::new(body, encoder, room, client));
            coding
        }
        None => Coding::Identity,
    };
    code_headers(response.headers_mut(), coding);
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
