//! Values in the store: one byte of format, then the record.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

const FORMAT: u8 = 1;

/// Why a value in the store is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A newer version wrote it, or something else did.
    #[error("format {found:?}, and this version reads {FORMAT}")]
    Format { found: Option<u8> },
    /// It breaks the schema.
    #[error("damaged: {0}")]
    Damaged(String),
}

pub(super) fn encode(record: &impl Message) -> Bytes {
    let mut value = BytesMut::with_capacity(1 + record.encoded_len());
    value.put_u8(FORMAT);
    value.put(record.encode_to_vec().as_slice());
    value.freeze()
}

pub(super) fn decode<R: Message + Default>(value: &[u8]) -> Result<R, Unreadable> {
    match value.split_first() {
        Some((&FORMAT, record)) => {
            R::decode(record).map_err(|error| Unreadable::Damaged(error.to_string()))
        }
        other => Err(Unreadable::Format {
            found: other.map(|(format, _)| *format),
        }),
    }
}
