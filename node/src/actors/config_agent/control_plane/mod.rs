//! The node's stream to the control plane (`weir.control.v1.NodeSync`).
//!
//! ```text
//! control plane ── Push ──► stream ──► Taker ── Give ──► config agent ──► every actor its part
//!               ◄─ Ack ───────┘         │ held sets, state of the profile
//!                                       └─► last known good, on disk
//! ```
//!
//! One task on the control thread. [`Taker`] knows what the control plane pushed, hands it on and says what
//! became of it; it knows no network. `stream.rs` connects, says hello with what is held, answers each push once, and
//! comes back when the stream breaks. The node serves on what it has, whether anybody answers or not.

mod disk;
mod held;
mod link_status;
mod payload;
mod profile;
mod start;
mod stream;
mod taker;
#[cfg(test)]
mod tests;

pub use link_status::LinkStatus;
pub use start::Start;
pub use stream::{Settings, TokenError, bearer, run};
pub use taker::{Ends, Taker};
