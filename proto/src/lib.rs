//! Weir's wire schema and the code generated from it; [`convert`] is where wire becomes core and back.

pub mod codec;
pub mod convert;
pub mod sync;

/// What operators, backends and nodes say to the control plane (`weir.control.v1`).
pub mod control {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("weir.control.v1");
    }

    /// What the control plane keeps in its store (`weir.control.records.v1`).
    pub mod records {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("weir.control.records.v1");
        }
    }
}

/// Tuning profiles (`weir.tuning.v1`).
pub mod tuning {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("weir.tuning.v1");
    }
}

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

impl control::v1::ApplyStatus {
    /// As people and scripts read it.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Unspecified => "none",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Deferred => "deferred",
            Self::Rejected => "rejected",
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

/// Values of a series, of which those below 0 are none.
fn none_as_null<S: serde::Serializer>(values: &[i64], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(values.iter().map(|value| u64::try_from(*value).ok()))
}
