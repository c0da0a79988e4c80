//! Caches beyond Weir: the tags of responses, and purges as CDNs take them.
//!
//! Data only: what is to be sent, to be sent by whoever is told to.

mod bucket;
mod cdn;
mod cloudflare;
mod fastly;
mod outbox;
mod request;
mod tags;

pub use bucket::TokenBucket;
pub use cdn::{Cdn, RETRY_AFTER_MAX_MS, Told};
pub use cloudflare::{CLOUDFLARE_OPS_MAX, Cloudflare};
pub use fastly::{FASTLY_KEYS_MAX, Fastly};
pub use outbox::{Added, Outbox, Taken, WAITING_BYTES_MAX, WAITING_MAX};
pub use request::{CdnPurge, CdnRequest, CdnScope, NotForThisCdn};
pub use tags::{
    TAG_BYTES_MAX, TAG_HEADER_BYTES_MAX, TAGS_MAX, TagProblem, keep_from_cdns, parse_tags,
};
