//! The tier on a real Redis: what it keeps, and what it survives.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "tests have threads of their own")]

mod keeping;
mod limits;
mod outages;
mod secrets;
mod stage;
mod trust;
