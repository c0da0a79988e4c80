//! What is known of the port that a VPN forwards, and when it is asked for.
//!
//! One [`Entry`] a VPN. [`Entry::look_up`] answers from what is known and says what has to be done: nothing, ask again
//! while the answer serves, or ask and wait. [`Entry::begin_fetch`] lets one question at a time through. Every question
//! belongs to an epoch; [`Entry::invalidate`] begins a new one, and answers to questions of an older one are dropped.
//! Nodes that do not ask the VPN themselves take over the [`Picture`] of the one that does.
//!
//! An answer is as old as its question: a port is known to be right only up to when it was asked for.

mod counters;
mod entry;
mod learned;
mod limits;
mod state;
#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use entry::{Entry, Ticket};
pub use learned::{Came, Good, Latest, Origin, PUSH_DELAY_MAX, Picture};
pub use limits::Limits;
pub use state::{Answer, Failure, LookUp, Need, Outcome, Port, Reading, Reason, State, Upstream};
