//! Engines in containers of a real Docker, started, cared for and left alone by a whole node.

mod dead;
mod faults;
mod killed;
mod life;
mod nodes;
mod outage;
mod renewal;
mod stage;
mod store;
mod streams;
mod tap;
mod vpn;
mod vpn_tells;
mod vpn_versions;
