//! What may be put and asked for.

use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

use crate::surrogate::{TAG_BYTES_MAX, TAGS_MAX};

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a value: with key, tags and times it has room in one value of Redis.
pub const VALUE_BYTES_MAX: usize = 1_000_000;
/// How long a value may live.
pub const TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How long somebody may have to load.
pub const LEASE_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
/// How long they have unless told otherwise.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
/// How long one may wait for another's load.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long one waits unless told otherwise.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// A field that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {why}")]
pub struct OutOfBounds {
    /// Of the request.
    pub field: &'static str,
    /// The value and its bound, in words.
    pub why: String,
}

fn refused<T>(field: &'static str, why: String) -> Result<T, OutOfBounds> {
    Err(OutOfBounds { field, why })
}

/// A key of 1 to [`KEY_BYTES_MAX`] bytes without control characters.
///
/// # Errors
/// [`OutOfBounds`].
pub fn check_key(field: &'static str, key: &str) -> Result<(), OutOfBounds> {
    let bytes = key.len();
    if !(1..=KEY_BYTES_MAX).contains(&bytes) {
        return refused(
            field,
            format!("{bytes} bytes, expected 1 to {KEY_BYTES_MAX}"),
        );
    }
    match key.chars().find(|c| c.is_control()) {
        Some(c) => refused(field, format!("holds the control character {c:?}")),
        None => Ok(()),
    }
}

/// A value of at most [`VALUE_BYTES_MAX`] bytes.
///
/// # Errors
/// [`OutOfBounds`].
pub fn check_value(value: &[u8]) -> Result<(), OutOfBounds> {
    let bytes = value.len();
    match bytes <= VALUE_BYTES_MAX {
        true => Ok(()),
        false => refused(
            "value",
            format!("{bytes} bytes, at most {VALUE_BYTES_MAX} are kept"),
        ),
    }
}

/// At most 64 tags, each of 1 to 256 visible ASCII characters.
///
/// # Errors
/// [`OutOfBounds`].
pub fn check_tags(tags: &[String]) -> Result<(), OutOfBounds> {
    if tags.len() > TAGS_MAX {
        return refused("tags", format!("{} tags, at most {TAGS_MAX}", tags.len()));
    }
    for tag in tags {
        let bytes = tag.len();
        if !(1..=TAG_BYTES_MAX).contains(&bytes) {
            return refused(
                "tags",
                format!("a tag of {bytes} bytes, expected 1 to {TAG_BYTES_MAX}"),
            );
        }
        if !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("tags", format!("{tag:?} holds what is not visible ASCII"));
        }
    }
    Ok(())
}

/// How long a value lives that is put with `ttl_ms`; 0: as long as is usual.
///
/// # Errors
/// [`OutOfBounds`].
pub fn value_ttl(ttl_ms: u64, usual: Duration) -> Result<Duration, OutOfBounds> {
    let ttl = Duration::from_millis(ttl_ms);
    match ttl_ms {
        0 if usual.is_zero() => {
            refused("ttl_ms", "0, and cache.aside_ttl keeps nothing".to_owned())
        }
        0 => Ok(usual.min(TTL_MAX)),
        _ if ttl > TTL_MAX => refused(
            "ttl_ms",
            format!("{ttl_ms}, at most {} (30 days)", TTL_MAX.as_millis()),
        ),
        _ => Ok(ttl),
    }
}

/// How long somebody has to load.
///
/// # Errors
/// [`OutOfBounds`].
pub fn lease_ttl(lease_ms: u64) -> Result<Duration, OutOfBounds> {
    let ttl = Duration::from_millis(lease_ms);
    match lease_ms {
        0 => Ok(LEASE_DEFAULT),
        _ if LEASE_RANGE.contains(&ttl) => Ok(ttl),
        _ => refused("lease_ms", format!("{lease_ms}, expected 100 to 60000")),
    }
}

/// How long one waits for another's load.
///
/// # Errors
/// [`OutOfBounds`].
pub fn load_wait(wait_ms: Option<u64>) -> Result<Duration, OutOfBounds> {
    let wait = wait_ms.map_or(WAIT_DEFAULT, Duration::from_millis);
    match wait <= WAIT_MAX {
        true => Ok(wait),
        false => refused("wait_ms", format!("{}, at most 30000", wait.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_told_with_field_value_and_bound() {
        let long = "k".repeat(1_025);
        let told = [
            check_key("key.key", "").unwrap_err(),
            check_key("key.key", &long).unwrap_err(),
            check_key("key.key", "a\nb").unwrap_err(),
            check_value(&vec![0; 1_000_001]).unwrap_err(),
            check_tags(&vec!["a".to_owned(); 65]).unwrap_err(),
            check_tags(&["a b".to_owned()]).unwrap_err(),
            check_tags(&["t".repeat(257)]).unwrap_err(),
            value_ttl(0, Duration::ZERO).unwrap_err(),
            value_ttl(2_592_000_001, Duration::ZERO).unwrap_err(),
            lease_ttl(99).unwrap_err(),
            load_wait(Some(30_001)).unwrap_err(),
        ];
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "key.key: 0 bytes, expected 1 to 1024",
                "key.key: 1025 bytes, expected 1 to 1024",
                "key.key: holds the control character '\\n'",
                "value: 1000001 bytes, at most 1000000 are kept",
                "tags: 65 tags, at most 64",
                "tags: \"a b\" holds what is not visible ASCII",
                "tags: a tag of 257 bytes, expected 1 to 256",
                "ttl_ms: 0, and cache.aside_ttl keeps nothing",
                "ttl_ms: 2592000001, at most 2592000000 (30 days)",
                "lease_ms: 99, expected 100 to 60000",
                "wait_ms: 30001, at most 30000",
            ]
        );
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(value_ttl(0, hour), Ok(hour));
        assert_eq!(value_ttl(5, hour), Ok(Duration::from_millis(5)));
        assert_eq!(lease_ttl(0), Ok(LEASE_DEFAULT));
        assert_eq!(load_wait(None), Ok(WAIT_DEFAULT));
        assert_eq!(load_wait(Some(0)), Ok(Duration::ZERO));
    }
}
