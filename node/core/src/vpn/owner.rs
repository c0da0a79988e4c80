//! Which node asks a VPN's control server for all nodes.

use std::cmp::Reverse;
use std::time::Duration;

use crate::balance::hash_key;

/// The node that asks this VPN, of those that could: rendezvous hashing (highest random weight).
///
/// Every node that knows the same candidates, in whatever order, names the same one, in every version; a candidate that
/// leaves moves only the VPNs that it asked, and those spread over the others.
pub fn owner<'a, S: AsRef<str>>(vpn: &str, candidates: &'a [S]) -> Option<&'a S> {
    candidates
        .iter()
        .max_by(|a, b| rank(vpn, a.as_ref()).cmp(&rank(vpn, b.as_ref())))
}

/// All candidates, the owner first: the next one asks when those before it cannot.
pub fn ranking<'a, S: AsRef<str>>(vpn: &str, candidates: &'a [S]) -> Vec<&'a S> {
    let mut ranked: Vec<&S> = candidates.iter().collect();
    ranked.sort_by(|a, b| rank(vpn, b.as_ref()).cmp(&rank(vpn, a.as_ref())));
    ranked
}

/// How long the node that asks may say nothing before the next one takes over.
///
/// The next one is to ask within one interval of health after the last word, and needs [`NOTICED_WITHIN`] of that to
/// act on the silence. The floor is for nodes that are busy: they say something each second, and one word may be late.
/// So below 3 s of interval a change of hands takes up to 3 s.
pub fn silence_max(health_interval: Duration) -> Duration {
    health_interval
        .saturating_sub(NOTICED_WITHIN)
        .clamp(SILENCE_FLOOR, SILENCE_CEILING)
}

/// From when a node counts as silent until the next one asks, at most.
pub const NOTICED_WITHIN: Duration = Duration::from_secs(1);
const SILENCE_FLOOR: Duration = Duration::from_secs(2);
/// There is nothing to gain from waiting longer.
const SILENCE_CEILING: Duration = Duration::from_secs(3);

/// Greater is first. Equal weights, if ever, go to the name that is first in the alphabet.
fn rank<'a>(vpn: &str, node: &'a str) -> (u64, Reverse<&'a str>) {
    let mut key = Vec::with_capacity(vpn.len() + node.len() + 1);
    key.extend_from_slice(vpn.as_bytes());
    // No name holds it, so no two pairs make one key.
    key.push(0);
    key.extend_from_slice(node.as_bytes());
    (hash_key(&key), Reverse(node))
}
