//! Engines in containers of a real Docker, started, cared for and left alone by a whole node.

mod faults;
mod life;
mod stage;
mod vpn;
mod vpn_versions;
