//! Files that the node writes line by line.

pub mod rotate;
