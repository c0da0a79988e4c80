//! Which node fetches and keeps a key for all.

use crate::vpn::{owner, ranking};

/// For how long the node that owned a key before is asked for what it has, in milliseconds.
pub const PREVIOUS_OWNER_MS: u64 = 60_000;
/// A node with more in flight than this share of the mean is overloaded, in percent.
pub const OVERLOAD_PERCENT: u64 = 125;

/// A node with less than this in flight is not overloaded, whatever the mean.
const IN_FLIGHT_MIN: u64 = 16;

/// The nodes that live, as the control plane knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Rises with each change.
    pub epoch: u64,
    /// Names of nodes.
    pub nodes: Vec<String>,
}

/// What a node has under way for its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoad<'a> {
    /// Its name.
    pub node: &'a str,
    /// Requests in flight.
    pub in_flight: u64,
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement<'a> {
    /// Who is asked.
    pub node: &'a str,
    /// Whether that is the second choice, because the first has too much to do.
    pub is_second: bool,
    /// Who owned it in the view before, while that is worth a look: the owner peeks there before it fetches.
    pub previous: Option<&'a str>,
}

/// Owners by rendezvous hashing, over this view and the one before.
#[derive(Clone, Debug)]
pub struct Owners {
    view: View,
    previous: Option<(View, u64)>,
}

impl Owners {
    /// The first view.
    pub fn new(view: View) -> Self {
        Self {
            view,
            previous: None,
        }
    }

    /// A newer view; an older or the same one is ignored.
    pub fn change(&mut self, view: View, now_ms: u64) {
        if view.epoch > self.view.epoch {
            let before = std::mem::replace(&mut self.view, view);
            self.previous = Some((before, now_ms));
        }
    }

    /// The view in force.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where a key is; none: there is no node. `loads`: what is known of in-flight requests, of whichever nodes.
    pub fn place(&self, key: &str, loads: &[NodeLoad<'_>], now_ms: u64) -> Option<Placement<'_>> {
        let ranked = ranking(key, &self.view.nodes);
        let first = ranked.first()?.as_str();
        let second = ranked.get(1).map(|second| second.as_str());
        let second = second.filter(|second| self.is_relief(first, second, loads));
        Some(Placement {
            node: second.unwrap_or(first),
            is_second: second.is_some(),
            previous: self
                .previous_owner(key, now_ms)
                .filter(|previous| *previous != first),
        })
    }

    /// Whether the first has too much to do, and the second less.
    fn is_relief(&self, first: &str, second: &str, loads: &[NodeLoad<'_>]) -> bool {
        let is_here = |load: &&NodeLoad<'_>| self.view.nodes.iter().any(|node| node == load.node);
        let known: Vec<_> = loads.iter().filter(is_here).collect();
        let in_flight = |node: &str| {
            known
                .iter()
                .find(|load| load.node == node)
                .map(|load| load.in_flight)
        };
        let (Some(of_first), Some(of_second)) = (in_flight(first), in_flight(second)) else {
            return false;
        };
        let sum: u128 = known.iter().map(|load| u128::from(load.in_flight)).sum();
        let share = u128::from(of_first) * 100 * known.len() as u128;
        of_first >= IN_FLIGHT_MIN
            && share > sum * u128::from(OVERLOAD_PERCENT)
            && of_second < of_first
    }

    /// Of those that are still there: what another one had is gone with it.
    fn previous_owner(&self, key: &str, now_ms: u64) -> Option<&str> {
        let (previous, changed_ms) = self.previous.as_ref()?;
        let is_recent = now_ms.saturating_sub(*changed_ms) < PREVIOUS_OWNER_MS;
        let previous = owner(key, &previous.nodes).filter(|_| is_recent)?;
        self.view.nodes.contains(previous).then_some(previous)
    }
}
