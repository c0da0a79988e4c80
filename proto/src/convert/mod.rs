//! Where wire becomes core types and back: the only place that knows both.

mod tuning;

pub use tuning::{Decoded, decode_profile, encode_profile, field_error, knob, problem, value};
