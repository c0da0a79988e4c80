//! A VPN that engines are behind: how its health and port change, and who asks it.
//!
//! [`Health`] makes events of looks. [`PortWatch`] looks at the port apart from health, because a VPN makes its tunnel
//! anew inside its container without ever being unhealthy. [`grant`] says which port a new engine gets. [`owner`] says
//! which node asks a VPN for all nodes; [`Network`], whether an engine is still in the network that it joined.

mod grant;
mod health;
mod look;
mod network;
mod owner;
mod port_watch;
#[cfg(test)]
mod tests;

pub use grant::{CONFIRM_AFTER, Doubt, PortFacts, grant};
pub use health::{Change, Event, Health, State};
pub use look::{
    Container, ContainerHealth, ContainerLook, Control, HealthLimits, Look, TunnelStatus,
};
pub use network::{Joined, Network};
pub use owner::{NOTICED_WITHIN, owner, ranking, silence_max};
pub use port_watch::{PortEvent, PortWatch, WatchLimits};
