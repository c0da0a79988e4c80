//! Which node fetches and keeps a key for all.

/// For how long the node that owned a key before is asked for what it has, in milliseconds.
pub const PREVIOUS_OWNER_MS: u64 = 60_000;
/// A node with more in flight than this share of the mean is overloaded, in percent.
pub const OVERLOAD_PERCENT: u64 = 125;

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
}

impl Owners {
    /// The first view.
    pub fn new(view: View) -> Self {
        Self { view }
    }

    /// A newer view; an older or the same one is ignored.
    pub fn change(&mut self, view: View, now_ms: u64) {
        let _ = now_ms;
        self.view = view;
    }

    /// The view in force.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Where a key is; none: there is no node. `loads`: what is known of in-flight requests, of whichever nodes.
    pub fn place(&self, key: &str, loads: &[NodeLoad<'_>], now_ms: u64) -> Option<Placement<'_>> {
        panic!("not written yet: {key} {loads:?} {now_ms}")
    }
}
