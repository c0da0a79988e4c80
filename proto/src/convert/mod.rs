//! Where wire becomes core types and back: the only place that knows both.

mod broadcast;
mod purge;
mod tuning;

pub use broadcast::{
    decode_class, decode_content, decode_position, encode_class, encode_content, encode_position,
};
pub use purge::{decode_hlc, decode_purge, encode_hlc, encode_purge};
pub use tuning::{Decoded, decode_profile, encode_profile, field_error, knob, problem, value};
