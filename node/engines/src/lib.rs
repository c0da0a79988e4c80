//! What engines are run with: drivers that start and stop them, and the control server of the VPN that they are behind.
//!
//! Everything here touches the outside and decides nothing: [`driver::Driver`] is what the provision supervisor asks,
//! with a process and a Docker implementation.

pub mod containers;
pub mod docker;
pub mod driver;
pub mod gluetun;
pub mod process;
