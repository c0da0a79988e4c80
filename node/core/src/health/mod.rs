//! Whether a backend may take work, and how much.
//!
//! One [`BackendHealth`] per backend folds active checks, failures seen in traffic, the operator's
//! wishes and slow start into one [`Standing`]. It keeps no clock: every call says what time it is.

mod backend;
mod checks;
mod config;
mod ejection;
mod slow_start;
mod standing;
#[cfg(test)]
mod tests;

pub use backend::BackendHealth;
pub use config::{Check, DEFAULT_DRAIN_TIMEOUT, DEFAULT_PANIC_PERCENT, HealthConfig};
pub use ejection::{EjectionConfig, may_eject};
pub use slow_start::SlowStartConfig;
pub use standing::Standing;
