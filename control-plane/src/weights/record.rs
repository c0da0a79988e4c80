//! A service's weights as the store keeps them.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_proto::control::records::v1::Weights;

use crate::records::{Error, decode, encode};
use crate::store::Entry;

/// The weights of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceWeights {
    /// Which.
    pub service: String,
    /// By backend; what is not named keeps its own weight.
    pub weights: BTreeMap<String, u32>,
    /// 1 for the first; 0 when none were ever set.
    pub revision: u64,
    /// Who wrote them.
    pub author: String,
    /// Why.
    pub message: String,
    /// When.
    pub written_at_unix_ms: u64,
    /// Names the write that made them.
    pub write_id: String,
}

impl ServiceWeights {
    /// What a service has that has no weights.
    pub fn none(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the record at the key of this service.
    pub fn read(entry: &Entry, service: &str) -> Result<Self, Error> {
        let record: Weights = decode(&entry.key, &entry.value)?;
        if record.service != service {
            return Err(Error::wrong(&entry.key, "service", record.service, service));
        }
        Ok(Self {
            service: record.service,
            weights: record.weights,
            revision: record.revision,
            author: record.author,
            message: record.message,
            written_at_unix_ms: record.written_at_unix_ms,
            write_id: record.write_id,
        })
    }

    /// Writes the record.
    pub fn write(&self) -> Bytes {
        encode(&Weights {
            service: self.service.clone(),
            weights: self.weights.clone(),
            revision: self.revision,
            author: self.author.clone(),
            message: self.message.clone(),
            written_at_unix_ms: self.written_at_unix_ms,
            write_id: self.write_id.clone(),
        })
    }
}
