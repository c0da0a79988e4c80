//! The cases.

pub(crate) mod adding;
pub(crate) mod claiming;
pub(crate) mod clocks;
pub(crate) mod ending;
pub(crate) mod fleet;
pub(crate) mod holds;
pub(crate) mod once;
