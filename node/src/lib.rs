//! Weir node
