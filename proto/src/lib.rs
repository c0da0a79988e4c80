//! Weir's wire schema and the code generated from it. Only [`FILE_DESCRIPTOR_SET`] is written by hand.

/// What the demo backends of `weir up` answer (`weir.demo.v1`).
pub mod demo {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("weir.demo.v1");
    }
}

/// The node's own services (`weir.node.v1`).
pub mod node {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("weir.node.v1");
    }
}

/// Every schema file, encoded, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));

impl node::v1::Standing {
    /// As people and scripts read it.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::In => "in",
            Self::SlowStart => "slow-start",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Weightless => "weight-0",
        }
    }
}

fn standing_as_text<S: serde::Serializer>(standing: &i32, out: S) -> Result<S::Ok, S::Error> {
    let standing = node::v1::Standing::try_from(*standing);
    out.serialize_str(
        standing
            .unwrap_or(node::v1::Standing::Unspecified)
            .as_text(),
    )
}
