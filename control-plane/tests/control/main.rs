//! What the control plane keeps true over its store: presences, one leader, registered backends.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod backends;
mod backends_gone;
mod election;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../store/etcd.rs"]
mod etcd;
mod faulty;
mod instances;
mod presences;
mod presences_at_random;
mod presences_faults;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../store/support.rs"]
mod support;
