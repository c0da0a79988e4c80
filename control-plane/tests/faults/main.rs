//! What the control plane survives: its store killed, frozen, full, slow or put back; its instances killed, frozen or
//! late. Each test ends with every node on what the store says and with no acknowledged write lost or made twice.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod across;
mod api;
mod behind;
mod bounds;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../store/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../store/etcd.rs"]
mod etcd;
mod full;
mod instance;
mod lists;
mod members;
mod node;
mod pushes;
mod slow;
mod store_away;
mod store_back;
mod two;
mod watcher;
mod ways;
