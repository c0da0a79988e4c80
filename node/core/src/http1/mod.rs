//! Request framing guard for HTTP/1.x (RFC 9112).
//!
//! Two parsers that disagree about where a request ends can be made to disagree about what the
//! next request is: request smuggling. The parser behind Weir is lenient in places (bare LF, a
//! Content-Length next to a Transfer-Encoding) and hides what it forgave, so bytes from the client
//! pass through [`RequestGuard`] first. It accepts one reading only and refuses the rest.

mod chars;
mod chunked;
mod fields;
mod guard;
mod head;
mod limits;
mod lines;
mod refusal;
mod target;

pub use guard::{Refused, RequestGuard};
pub use head::Head;
pub use limits::Limits;
pub use refusal::Refusal;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
