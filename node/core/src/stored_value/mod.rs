//! Responses as they are stored outside of the process, in Redis: a fixed binary layout with a checksum.

mod decode;
mod encode;
mod layout;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;
pub use layout::{
    BODY_BYTES_MAX, BodyForm, Corrupt, KEY_BYTES_MAX, StoredValue, TAGS_MAX, Times, TooLarge,
    VALUE_BYTES_MAX,
};
