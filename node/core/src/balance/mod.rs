//! Which backend takes the next request.
//!
//! A [`Selector`] is an immutable snapshot of the candidates of one service; what moves from request
//! to request lives in one [`BackendLoad`] per backend, in slots that only their own core writes.

mod core_load;
mod draw;
mod ewma;
mod hash;
mod load;
mod policy;
mod ring;
mod selector;
#[cfg(test)]
mod simulation;
mod spread;
pub mod sticky;
mod tiers;

pub use core_load::CoreLoad;
pub use ewma::{
    DEFAULT_DECAY, DEFAULT_FAILURE_PENALTY, DEFAULT_INITIAL_RTT, EwmaConfig, MAX_FAILURE_PENALTY,
    failure_penalty,
};
pub use hash::hash_key;
pub use load::{BackendLoad, Outcome};
pub use policy::{DEFAULT_BOUNDED_LOAD_PERCENT, HashOn, Policy, UnknownPolicy};
pub use selector::{Candidate, Pick, Selector};
pub use spread::{GROUPS_MAX, Spread};
pub use tiers::{Fitness, Member, Tier, TierConfig, choose_tier};
