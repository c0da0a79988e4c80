//! What Weir promises its users, tested on the whole binary: one module for each promise.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests may panic; modules of one test share"
)]

mod client;
mod common;
mod drains;
mod faults;
mod faulty;
mod h2_faults;
mod health;
mod leaks;
mod limits;
mod operator;
mod reload;
mod replays;
mod steered;
mod stopping;
mod traffic;
mod up;
