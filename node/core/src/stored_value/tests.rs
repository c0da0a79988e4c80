use super::*;
use crate::purge::Hlc;

fn value() -> StoredValue<'static> {
    StoredValue {
        key: b"https://a.example/x",
        status: 200,
        times: Times {
            fetched_at: Hlc::new(1_000, 2, 3),
            response_unix_ms: 1_010,
            initial_age_ms: 7,
            fetch_cost_ms: 10,
            fresh_until_ms: 2_000,
            revalidate_until_ms: 3_000,
            error_until_ms: 4_000,
            keep_until_ms: 5_000,
        },
        tags: vec![1, u64::MAX],
        headers: b"content-type: text/plain\r\n",
        body_form: BodyForm::Raw,
        body_bytes: 5,
        body: b"hello",
    }
}

#[test]
fn what_was_written_is_read() {
    let value = value();
    let bytes = encode(&value).unwrap();
    assert_eq!(decode(&bytes, value.key), Ok(value));
}

/// Redis holds values of earlier and later versions while nodes are upgraded.
#[test]
fn the_layout_is_what_it_was() {
    let bytes = encode(&value()).unwrap();
    assert_eq!(bytes.len(), 96 + 19 + 16 + 26 + 5);
    assert_eq!(bytes[..8], [1, 0, 200, 0, 214, 20, 4, 109]);
    assert_eq!(bytes[8..20], [2, 0, 232, 3, 0, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(
        bytes[80..96],
        [19, 0, 0, 0, 26, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0]
    );
    assert!(bytes.ends_with(b"text/plain\r\nhello"));
}

#[test]
fn every_single_bit_that_flips_is_noticed() {
    let whole = encode(&value()).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes, value().key).is_err(), "bit {bit}");
    }
}

#[test]
fn a_value_that_is_cut_or_goes_on_is_none() {
    let mut bytes = encode(&value()).unwrap();
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end], value().key).is_err(), "{end} bytes");
    }
    bytes.push(0);
    let found = bytes.len();
    assert_eq!(decode(&bytes, value().key), Err(Corrupt::Length { found }));
}

#[test]
fn a_value_of_another_key_or_version_is_told_as_that() {
    let mut bytes = encode(&value()).unwrap();
    assert_eq!(
        decode(&bytes, b"https://a.example/y"),
        Err(Corrupt::OtherKey)
    );
    bytes[0] = 2;
    let told = decode(&bytes, value().key).unwrap_err().to_string();
    assert_eq!(told, "version 2, expected 1");
}

#[test]
fn what_is_too_large_is_refused_with_its_bound() {
    let (body, key) = (vec![0; VALUE_BYTES_MAX], vec![0; KEY_BYTES_MAX + 1]);
    let large = StoredValue {
        body: &body,
        body_bytes: body.len() as u64,
        ..value()
    };
    let told = encode(&large).unwrap_err().to_string();
    assert!(
        told.ends_with("a stored value takes at most 1048576"),
        "{told}"
    );
    let tags = StoredValue {
        tags: vec![0; TAGS_MAX + 1],
        ..value()
    };
    assert_eq!(encode(&tags).unwrap_err().bound, TAGS_MAX);
    let long_key = StoredValue {
        key: &key,
        ..value()
    };
    assert_eq!(encode(&long_key).unwrap_err().bound, KEY_BYTES_MAX);
    let bomb = StoredValue {
        body_form: BodyForm::Zstd,
        body_bytes: BODY_BYTES_MAX + 1,
        ..value()
    };
    assert_eq!(encode(&bomb).unwrap_err().found, (64 << 20) + 1);
}

#[test]
fn a_value_at_the_bound_is_stored() {
    let body = vec![7; VALUE_BYTES_MAX - 96 - value().key.len()];
    let largest = StoredValue {
        tags: Vec::new(),
        headers: b"",
        body: &body,
        body_bytes: body.len() as u64,
        ..value()
    };
    let bytes = encode(&largest).unwrap();
    assert_eq!(bytes.len(), VALUE_BYTES_MAX);
    assert_eq!(decode(&bytes, largest.key), Ok(largest));
}

#[test]
fn what_was_written_wrong_is_no_response() {
    let wrong = [
        StoredValue {
            status: 0,
            ..value()
        },
        StoredValue {
            body_bytes: 6,
            ..value()
        },
    ];
    for value in wrong {
        let bytes = encode(&value).unwrap();
        assert!(
            matches!(decode(&bytes, value.key), Err(Corrupt::Field { .. })),
            "{value:?}"
        );
    }
}

/// As nobody writes it: lengths that say the same in all, and more tags than are written.
#[test]
fn more_tags_than_are_written_are_not_read() {
    let tags = StoredValue {
        tags: vec![9; TAGS_MAX],
        ..value()
    };
    let mut bytes = encode(&tags).unwrap();
    bytes[84] -= 8;
    bytes[92] += 1;
    let checksum = layout::checksum(&bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    let refused = decode(&bytes, tags.key);
    assert!(
        matches!(refused, Err(Corrupt::Field { found: 65, .. })),
        "{refused:?}"
    );
}
