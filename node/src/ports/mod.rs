//! What the node touches outside itself, behind traits, so that it runs inside a simulation too.

pub use weir_control_plane::clock;

pub mod memory;
pub mod net;
