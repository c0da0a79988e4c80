//! A simulated fleet: instances of the control plane over one store, and nodes that they steer.

pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod operator;
mod planted;
pub(crate) mod wire;

use std::time::Duration;

use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};

/// Instances of the control plane.
pub(crate) const INSTANCES: [&str; 2] = ["cp-1", "cp-2"];
/// Nodes; those of [`GROUPED`] have the group's label.
pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// How many of the nodes are in the group.
pub(crate) const GROUPED: usize = 2;
/// The one service that they have.
pub(crate) const SERVICE: &str = "web";
/// Its backends.
pub(crate) const BACKENDS: [&str; 2] = ["backend-1", "backend-2"];
/// What wall clocks show at the start: 2030-01-01.
pub(crate) const WALL_CLOCK_START: Duration = Duration::from_secs(1_893_456_000);

/// A scope, the knob that it alone sets, and whether it ends by itself. Later ones win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// As operators write it; `{}` stands for a node.
    scope: &'static str,
    /// Tells which revision of the scope a node has.
    pub(crate) marker: &'static str,
    /// Whether it is an override.
    pub(crate) ends: bool,
}

/// Every layer, the weakest first.
pub(crate) const LAYERS: [Layer; 5] = [
    layer("fleet", "upstream.connections_max", false),
    layer("group/eu", "upstream.idle_max", false),
    layer("node/{}", "ingress.connections_max", false),
    layer("override", "ingress.rate_limit_burst", true),
    layer("override/{}", "ingress.rate_limit_clients_max", true),
];

/// A knob that every scope may set.
pub(crate) const CONTESTED: &str = "upstream.connect_timeout";

const fn layer(scope: &'static str, marker: &'static str, ends: bool) -> Layer {
    Layer {
        scope,
        marker,
        ends,
    }
}

impl Layer {
    /// The scope as it concerns `node`; `None` if it does not.
    pub(crate) fn scope_for(&self, node: &str) -> Option<String> {
        let is_outside = self.scope.starts_with("group/") && !is_grouped(node);
        (!is_outside).then(|| self.scope.replace("{}", node))
    }
}

/// Whether a node has the group's label.
pub(crate) fn is_grouped(node: &str) -> bool {
    NODES[..GROUPED].contains(&node)
}

/// Where everything is in the store.
pub(crate) fn keys() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).expect("the default is a name")
}
