//! HTTP caching as a shared reverse-proxy cache does it (RFC 9111, 9110, 9211, 9213, 5861, 8246).
//!
//! The way of a request: [`Lookup::of`] reads what it wants; [`Key::of`] and [`VaryBy::secondary_key`] find what is
//! stored; [`reuse()`] says whether that answers, [`conditional`] and [`range`] how. The way of a response: [`store()`]
//! says whether and what of it is kept, [`freshen`] what a 304 does to what was kept, [`invalidated`] what an unsafe
//! request makes invalid. Times are arguments; bodies are the caller's.

mod age;
mod coding;
pub mod conditional;
mod dates;
mod directives;
mod early_refresh;
mod etag;
mod explain;
mod extension;
mod freshness;
mod headers;
mod invalidation;
mod key;
mod lookup;
mod negotiation;
mod phrases;
mod policy;
pub mod range;
mod reuse;
pub mod room;
mod status;
mod storage;
mod stored;
mod tiers;
mod time;
mod validation;
mod validators;
mod vary;

pub use coding::coded;
pub use dates::{format as http_date, parse as parse_http_date};
pub use directives::{Deciding, Directives};
pub use early_refresh::is_due;
pub use explain::{Step, explain};
pub use freshness::Source;
pub use headers::{CACHE_HOP, left_out, strip_unkeyed};
pub use invalidation::invalidated;
pub use key::{KEY_BYTES_MAX, Key, KeyTooLong, Target};
pub use lookup::{Bypass, Lookup, RequestDirectives};
pub use phrases::{CACHE_STATUS, Phrases};
pub use policy::{HEURISTIC_MAX, Policy, RequestCookie, SetCookie};
pub use reuse::{Failure, Fallback, Reuse, on_miss, reuse};
pub use status::{CacheStatus, Forwarded};
pub use storage::{NotStored, store};
pub use stored::{Exchange, Flags, OVERHEAD_BYTES, Stored};
pub use tiers::TierTtls;
pub use time::UnixMs;
pub use validation::{
    HeadUpdate, NotSelected, Renewed, condition, freshen, head_update, may_end_by_head, uncondition,
};
pub use validators::Validators;
pub use vary::{NAMES_MAX, VARIANT_BYTES_MAX, Variant, VaryBy, goes_beside};

#[cfg(test)]
mod tests;
