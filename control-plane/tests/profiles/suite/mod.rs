//! The cases, one function each, for any store.

pub(crate) mod history;
pub(crate) mod once;
pub(crate) mod overrides;
pub(crate) mod races;
pub(crate) mod weights;
