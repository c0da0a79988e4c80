//! From a response to bytes.

use super::layout::{CHECKSUM_AT, CHECKSUM_ENDS, FIXED_BYTES, VERSION, checksum};
use super::{BODY_BYTES_MAX, KEY_BYTES_MAX, StoredValue, TAGS_MAX, TooLarge, VALUE_BYTES_MAX};

/// The bytes of a response.
///
/// # Errors
///
/// What is too large.
pub fn encode(value: &StoredValue<'_>) -> Result<Vec<u8>, TooLarge> {
    let variable = value.key.len() + value.tags.len() * 8 + value.headers.len() + value.body.len();
    within("the key's length", value.key.len(), KEY_BYTES_MAX)?;
    within("the number of tags", value.tags.len(), TAGS_MAX)?;
    let body_bytes = usize::try_from(value.body_bytes).unwrap_or(usize::MAX);
    within("the body's length", body_bytes, BODY_BYTES_MAX as usize)?;
    within(
        "the value's length",
        FIXED_BYTES + variable,
        VALUE_BYTES_MAX,
    )?;
    let mut bytes = Vec::with_capacity(FIXED_BYTES + variable);
    put_fixed(&mut bytes, value);
    bytes.extend_from_slice(value.key);
    for tag in &value.tags {
        bytes.extend_from_slice(&tag.to_le_bytes());
    }
    bytes.extend_from_slice(value.headers);
    bytes.extend_from_slice(value.body);
    let checksum = checksum(&bytes);
    bytes[CHECKSUM_AT..CHECKSUM_ENDS].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn put_fixed(bytes: &mut Vec<u8>, value: &StoredValue<'_>) {
    bytes.push(VERSION);
    bytes.push(value.body_form as u8);
    bytes.extend_from_slice(&value.status.to_le_bytes());
    bytes.extend_from_slice(&[0; CHECKSUM_ENDS - CHECKSUM_AT]);
    let times = &value.times;
    bytes.extend_from_slice(&times.fetched_at.time().to_le_bytes());
    bytes.extend_from_slice(&times.fetched_at.node().to_le_bytes());
    bytes.extend_from_slice(&times.fetch_cost_ms.to_le_bytes());
    for number in [
        times.response_unix_ms,
        times.initial_age_ms,
        times.fresh_until_ms,
        times.revalidate_until_ms,
        times.error_until_ms,
        times.keep_until_ms,
        value.body_bytes,
    ] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for length in [
        value.key.len(),
        value.headers.len(),
        value.body.len(),
        value.tags.len(),
    ] {
        // Within the bounds above, so nothing is cut.
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
    }
}

fn within(field: &'static str, found: usize, bound: usize) -> Result<(), TooLarge> {
    match found <= bound {
        true => Ok(()),
        false => Err(TooLarge {
            field,
            found,
            bound,
        }),
    }
}
