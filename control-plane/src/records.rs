//! How values are written: one byte of format, then a message of `records.proto`.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The only format there is.
pub const FORMAT: u8 = 1;

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A newer version wrote it, or something else did.
    #[error("`{key}` has format {found}; this version reads format {FORMAT}")]
    Format {
        /// Where it is.
        key: String,
        /// Its first byte.
        found: u8,
    },
    /// It has no bytes at all.
    #[error("`{key}` is empty")]
    Empty {
        /// Where it is.
        key: String,
    },
    /// Its format is known and its content is not what its key says.
    #[error("`{key}` is damaged")]
    Damaged {
        /// Where it is.
        key: String,
        /// What is wrong.
        #[source]
        source: prost::DecodeError,
    },
    /// It is not what its key says, or contradicts itself.
    #[error("in `{key}` {field} is `{value}`; allowed: {bound}")]
    Wrong {
        /// Where it is.
        key: String,
        /// Which part.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        bound: String,
    },
}

impl Error {
    /// A record at a key with a part that may not be.
    pub(crate) fn wrong(
        key: &[u8],
        field: &'static str,
        value: impl Into<String>,
        bound: impl Into<String>,
    ) -> Self {
        Self::Wrong {
            key: key.escape_ascii().to_string(),
            field,
            value: value.into(),
            bound: bound.into(),
        }
    }
}

/// Writes a record.
pub fn encode(record: &impl Message) -> Bytes {
    let mut value = BytesMut::with_capacity(1 + record.encoded_len());
    value.put_u8(FORMAT);
    record
        .encode(&mut value)
        .expect("a growing buffer has room");
    value.freeze()
}

/// Reads the record at a key.
pub fn decode<M: Message + Default>(key: &[u8], value: &[u8]) -> Result<M, Error> {
    let name = || key.escape_ascii().to_string();
    match value {
        [] => Err(Error::Empty { key: name() }),
        [FORMAT, message @ ..] => M::decode(message).map_err(|source| Error::Damaged {
            key: name(),
            source,
        }),
        [found, ..] => Err(Error::Format {
            key: name(),
            found: *found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::control::records::v1::{Leader, Token};

    use super::*;

    #[test]
    fn a_record_is_read_back() {
        let leader = Leader {
            instance: "cp-1".to_owned(),
        };
        let value = encode(&leader);
        assert_eq!(value[0], FORMAT);
        assert_eq!(decode::<Leader>(b"k", &value), Ok(leader));
        // All fields at their defaults take no bytes.
        assert_eq!(decode::<Token>(b"k", &[FORMAT]), Ok(Token::default()));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_key() {
        let read = |value: &[u8]| decode::<Leader>(b"live/k", value).unwrap_err();
        assert_eq!(read(&[]).to_string(), "`live/k` is empty");
        let newer = read(&[9, 1]).to_string();
        assert_eq!(newer, "`live/k` has format 9; this version reads format 1");
        assert!(matches!(read(&[FORMAT, 0xff]), Error::Damaged { .. }));
    }
}
