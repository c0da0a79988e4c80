//! Who is let in, what they may do, and what is kept of it.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod access;
mod audit;
mod bootstrap;
mod certificates;
mod streams;
mod support;
mod tokens;
