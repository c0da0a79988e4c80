//! Purges on their way to CDNs.
//!
//! ```text
//! journal   what CDNs have not taken yet, on disk      journal.rs
//! send      one request to the API of a CDN            send.rs
//! ```
//!
//! Which requests purges become, and what answers mean, is decided in `weir_core::surrogate`. The actor
//! `cdn_outbox` owns what waits.

mod journal;
mod send;

pub use journal::{Journal, JournalError, Record};
pub use send::{Answer, SendError, Sender};
