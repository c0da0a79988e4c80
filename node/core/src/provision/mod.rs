//! When, where and how many engines are started, and when one is given up.
//!
//! | module | decides |
//! |---|---|
//! | [`gate`] | which start may begin now: permits, spacing, a bounded queue |
//! | [`breaker`] | whether starting is worth trying after failures |
//! | [`allocator`] | which ports a start gets |
//! | [`placement`] | which VPN an engine goes behind, and whether as its forwarded one |
//! | [`rebalance()`] | which engine moves to another VPN when they are spread unevenly |
//! | [`scaling`] | how many engines a service should have |
//! | [`made`] | whether an engine is what would be started now |
//! | [`rolling`] | which outdated engine is replaced next, and whether any is |
//! | [`care`] | what becomes of one engine: traffic, replacement, drain, stop; whose turn it is to be replaced |
//! | [`uses`] | how often an engine was used, as others count it |
//! | [`refusal`] | how a "no" is told, by machine-readable code |
//!
//! No function reads a clock: times and random numbers are arguments. Counting and then acting is one call on one
//! owner, and what is under way counts.

pub mod allocator;
pub mod breaker;
pub mod care;
pub mod gate;
pub mod made;
pub mod placement;
pub mod rebalance;
pub mod refusal;
pub mod rolling;
pub mod scaling;
pub mod uses;
pub mod words;

use std::time::{Duration, Instant};

pub use allocator::{PoolName, PortPool, Ports, Taken, follower_ports};
pub use breaker::{Breaker, BreakerConfig, BreakerState, Ticket};
pub use care::{
    Action, Care, CareRules, CareState, EndReason, Observation, Places, Replacements, Succession,
    Turn,
};
pub use gate::{Gate, GateLimits, Next, Position};
pub use made::{MadeOf, Seen, is_outdated};
pub use placement::{Placement, Role, VpnFacts, VpnState, place};
pub use rebalance::{Movable, Move, rebalance};
pub use refusal::{Refusal, RefusalCode, Wrong};
pub use rolling::{Outdated, Rolling, next_outdated};
pub use scaling::{Demand, EngineFacts, EngineStanding, Scaler, Scaling, ScalingRules};
pub use uses::UsesElsewhere;

/// Longer waits are the same to everybody, and an instant may not hold them.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `wait` after `at`; as far as an instant goes.
fn after(at: Instant, wait: Duration) -> Instant {
    at.checked_add(wait.min(FAR)).unwrap_or(at)
}
