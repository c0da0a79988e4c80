//! Weir's wire schema and the code generated from it. Only [`FILE_DESCRIPTOR_SET`] is written by hand.

/// The node's own services (`weir.node.v1`).
pub mod node {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("weir.node.v1");
    }
}

/// Every schema file, encoded, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));
