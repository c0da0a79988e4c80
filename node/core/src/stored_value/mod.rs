//! Responses as they are stored outside of the process, in Redis: a fixed binary layout with a checksum.

mod layout;

pub use layout::{
    BodyForm, Corrupt, StoredValue, TAGS_MAX, Times, TooLarge, VALUE_BYTES_MAX, decode, encode,
};
