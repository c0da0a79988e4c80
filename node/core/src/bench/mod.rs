//! Load tests: which loads are allowed, what was measured, where it broke, what held it up, and whether two
//! profiles really differ.

pub mod bottleneck;
pub mod compare;
pub mod latencies;
pub mod limits;
pub mod rule;
