//! Who owns what changes. An actor reads the clock, asks `weir-core`, and publishes.

pub mod broadcaster;
pub mod cache_tier;
pub mod cache_warmer;
pub mod cdn_outbox;
pub mod config_agent;
pub mod load_balancer;
pub mod port_cache;
pub mod provision_supervisor;
