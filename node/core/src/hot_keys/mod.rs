//! Who owns a key, and which keys of others a node mirrors.

mod mirror;
mod owners;
mod rate;
#[cfg(test)]
mod tests;

pub use mirror::{Mirror, MirrorLimits, Promotion};
pub use owners::{NodeLoad, OVERLOAD_PERCENT, Owners, PREVIOUS_OWNER_MS, Placement, View};
pub use rate::{Rate, WINDOW_MIN_MS, WINDOW_MS};
