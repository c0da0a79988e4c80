//! What subscribers are promised.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod bounds;
mod client;
mod encodings;
mod late;
mod order;
mod resume;
mod schedules;
mod sinks;
mod tasks;
