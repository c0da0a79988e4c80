//! Messages to many: what is numbered, batched, kept, dropped and told, and who is first for a topic.
//!
//! ```text
//! topic, trie    names, patterns and which patterns take a name
//! class          how urgent a message is and what may be lost of it; what it holds
//! position       epoch and offset: where a subscriber is
//! positions      where a subscriber is in all its topics
//! batching       which messages go together, and when
//! history        what a subscriber may still read, within count, bytes and age
//! resume         what a subscriber who was away gets
//! idempotency    a message that is published twice is one
//! outbox         what a connection that does not keep up loses
//! limits         all bounds, and refusals that name them
//! door           how often one client begins anew
//! pace           how often one client publishes
//! drain          when clients are sent away, so that they do not come back all at once
//! presence       who is there, of all nodes
//! owner          which node numbers a topic, and who goes on after it
//! replica        what waits for the second node that keeps a topic, and when that one goes on in the same epoch
//! ```
//!
//! Order is per topic: offsets rise strictly for every subscriber, and every one that is left out is told: by a gap,
//! by a new epoch, or by the number of messages that newer ones have replaced.

mod batching;
mod class;
mod door;
mod drain;
mod history;
mod idempotency;
mod limits;
mod outbox;
mod owner;
mod pace;
mod position;
mod positions;
mod presence;
mod replica;
mod resume;
mod topic;
mod trie;

pub use batching::{BatchLimits, BatchMode, Batcher, Ready};
pub use class::{Class, Content, Facts};
pub use door::Door;
pub use drain::{DrainPlan, Leave};
pub use history::{History, HistoryLimits, Page, PageLimits};
pub use idempotency::Recent;
pub use limits::{Limits, Refused};
pub use outbox::{Admission, CutReason, Kind, Load, OutboxLimits, Overdue, admit, overdue};
pub use owner::{Owners, may_continue, owners};
pub use pace::{Named, Pace, Publisher};
pub use position::{Epoch, Position, PositionError};
pub use positions::{POSITIONS_BYTES_MAX, Positions, PositionsError};
pub use presence::{Changes, Presence, PresenceLimits, Present};
pub use replica::{CONFIRM_MAX, Gone, LEASE, REST, Replication, forget_ended, may_go_on};
pub use resume::{Resume, Window, resume};
pub use topic::{OWN_TOPICS, PATTERN_SEGMENTS_MAX, Pattern, TOPIC_BYTES_MAX, TopicName};
pub use trie::PatternTrie;
