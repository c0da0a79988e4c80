//! The Docker driver on a real Docker.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod events;
mod fences;
mod life;
mod limits;
mod networks;
mod outages;
mod stage;
mod vpn;
