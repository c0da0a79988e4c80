//! What the node touches outside itself, behind traits, so that it runs inside a simulation too.

pub mod clock;
pub mod net;
