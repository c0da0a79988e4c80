//! What a store promises. Every case gets a store of its own that is empty.

pub(crate) mod compaction;
pub(crate) mod follower;
pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod txns;
pub(crate) mod watches;
