//! Who is there.

pub mod backends;
