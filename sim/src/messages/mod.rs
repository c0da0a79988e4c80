//! A simulated mesh that gives out messages: publishers and subscribers on real nodes, whose owners, replicas and links
//! work over simulated gRPC.

mod client;
pub(crate) mod history;
pub(crate) mod hosts;
mod publisher;

use std::time::Duration;

use weir_core::broadcast::TopicName;

/// The nodes.
pub(crate) use crate::purging::NODES;

/// How many topics there are.
pub(crate) const TOPICS: usize = 8;
/// Nobody publishes after this.
pub(crate) const WORK_UNTIL: Duration = Duration::from_secs(20);
/// What wall clocks show at the start: 2030-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_893_456_000);

fn topic(number: usize) -> TopicName {
    TopicName::new(&format!("t.{number}")).expect("it is a name")
}

fn number_of(topic: &str) -> usize {
    topic["t.".len()..].parse().expect("it is one of ours")
}
