//! Files that the node writes line by line.

pub mod access;
pub mod rotate;
