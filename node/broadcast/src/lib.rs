//! Messages to many subscribers. What is numbered, batched, kept and dropped is decided in `weir_core::broadcast`.
//!
//! ```text
//! topics       what all threads share: numbers, history, who is interested      topics/
//! message      encoded once for everybody                                       message.rs
//! shard        the subscribers of one thread; makes batches                     shard/
//! batch        in each form once for a thread                                   batch.rs
//! outbox       what waits for one connection                                    outbox/
//! encoding     JSON, protobuf, frames of WebSocket, events                      encoding/
//! account      bytes that are held, each once                                   account.rs
//! counters     what happened on a thread, by reason                             counters.rs
//! ```
//!
//! A message goes `Topics::publish` → inbox of each interested shard → batch → outbox of each subscriber → the task
//! of the connection, which writes; while the task rests, past both into its stream (`Sink`). Locks are held for a few
//! instructions, and never while anything is waited for. What goes wrong on the way (an inbox that was full, an outbox
//! that was full, a link that lost something, a new life of the topic) makes a subscriber fall behind, and there is
//! one way back for all of it: reading history from where it is.

mod account;
mod batch;
mod counters;
mod encoding;
mod message;
mod outbox;
mod shard;
mod topics;

pub use account::Account;
pub use batch::Batch;
pub use counters::{Count, Counters};
pub use encoding::{Control, Encoding, base64};
pub use message::{Draft, Message, Remote};
pub use outbox::{SLICES_MAX, Sent, Sink, Writing};
pub use shard::{Connection, ConnectionId, ConnectionInfo, Shard, Since, Work};
pub use topics::{Changes, HeldMessage, Published, Read, Stat, Topics};
