//! Stored values against hostile bytes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use weir_core::purge::Hlc;
use weir_core::stored_value::{BodyForm, StoredValue, Times, decode, encode};

fn bytes_of((key, headers, body, tags, numbers): &Parts) -> Vec<u8> {
    encode(&value(key, headers, body, tags, numbers)).unwrap()
}

type Parts = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u64>, [u64; 7]);

fn value<'a>(
    key: &'a [u8],
    headers: &'a [u8],
    body: &'a [u8],
    tags: &[u64],
    numbers: &[u64; 7],
) -> StoredValue<'a> {
    let [time, response, age, fresh, revalidate, error, keep] = *numbers;
    StoredValue {
        key,
        status: 100 + (time % 900) as u16,
        times: Times {
            fetched_at: Hlc::from_time(time, age as u32),
            response_unix_ms: response,
            initial_age_ms: age,
            fetch_cost_ms: error as u32,
            fresh_until_ms: fresh,
            revalidate_until_ms: revalidate,
            error_until_ms: error,
            keep_until_ms: keep,
        },
        tags: tags.to_vec(),
        headers,
        body_form: BodyForm::Raw,
        body_bytes: body.len() as u64,
        body,
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = |most: usize| vec(any::<u8>(), 0..most);
    let tags = vec(any::<u64>(), 0..64);
    (bytes(64), bytes(64), bytes(256), tags, any::<[u64; 7]>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(parts in parts()) {
        let (key, headers, body, tags, numbers) = &parts;
        let bytes = bytes_of(&parts);
        prop_assert_eq!(decode(&bytes, key), Ok(value(key, headers, body, tags, numbers)));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..400), key in vec(any::<u8>(), 0..4)) {
        let mut versioned = bytes.clone();
        if let Some(first) = versioned.first_mut() {
            *first = 1;
        }
        prop_assert!(decode(&bytes, &key).is_err());
        prop_assert!(decode(&versioned, &key).is_err());
    }

    /// Also with a checksum that holds, as somebody who can write to Redis makes it.
    #[test]
    fn changed_values_are_refused_or_within_bounds(
        parts in parts(),
        changes in vec((0..96_usize, any::<u8>()), 1..6),
        cut in 0..64_usize,
    ) {
        let mut bytes = bytes_of(&parts);
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let _ = decode(&bytes, &parts.0);
        if bytes.len() >= 8 {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[..4]);
            hasher.update(&bytes[8..]);
            let checksum = hasher.finalize();
            bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        }
        if let Ok(value) = decode(&bytes, &parts.0) {
            prop_assert!(value.tags.len() <= 64 && (100..=999).contains(&value.status));
            let taken = value.key.len() + value.headers.len() + value.body.len() + value.tags.len() * 8;
            prop_assert_eq!(taken + 96, bytes.len());
        }
    }
}
