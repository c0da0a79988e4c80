//! Whatever a path is, what it names is below the root.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use weir_core::cache::conditional::Condition;
use weir_core::cache::{UnixMs, Validators, http_date};
use weir_core::content_coding::Coding;
use weir_core::files::{NAME_BYTES_MAX, Stamp, relative};
use weir_core::route::normalise_path;

/// Paths made of what makes trouble.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("%2e".to_owned()),
        Just("%2E%2e".to_owned()),
        Just("%2f".to_owned()),
        Just("%5C".to_owned()),
        Just("\\".to_owned()),
        Just("%00".to_owned()),
        Just("%25".to_owned()),
        Just("%252e%252e%252f".to_owned()),
        Just("%c0%ae".to_owned()),
        Just("%".to_owned()),
        Just(".git".to_owned()),
        Just(".well-known".to_owned()),
        "[a-z]{1,3}",
        "\\PC{0,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// What a name may not be, whoever resolves it.
fn is_below(path: &[u8]) -> bool {
    path.is_empty()
        || path.split(|byte| *byte == b'/').all(|name| {
            !name.is_empty()
                && name != b"."
                && name != b".."
                && name.len() <= NAME_BYTES_MAX
                && !name.iter().any(|byte| *byte == b'\\' || *byte < b' ')
        })
}

fn stamps() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u64>(), 0..100_u64, 0..4_000_i128).prop_map(
        |(device, inode, bytes, ms)| Stamp {
            device,
            inode,
            bytes,
            modified_ns: (1_790_000_000_000 + ms) * 1_000_000,
        },
    )
}

fn with(name: http::HeaderName, value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value.clone())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_path_leads_out_of_the_root(path in paths(), dot_files: bool) {
        if let Ok(wanted) = relative(&path, dot_files) {
            prop_assert!(is_below(&wanted.path), "{path:?}: {wanted:?}");
            prop_assert!(wanted.is_directory || !wanted.path.is_empty());
        }
    }

    #[test]
    fn nothing_hidden_is_named_unless_asked_for(path in paths()) {
        if let Ok(wanted) = relative(&path, false) {
            let mut names = wanted.path.split(|byte| *byte == b'/');
            let is_shown = |name: &[u8]| !name.starts_with(b".");
            let first = names.next().unwrap_or_default();
            prop_assert!(is_shown(first) || first == b".well-known");
            prop_assert!(names.all(is_shown));
        }
    }

    #[test]
    fn the_spelling_that_routes_see_names_the_same_file(path in paths()) {
        if let Ok(plain) = relative(&path, true) {
            let normal = normalise_path(&path);
            // Routes refuse some characters that a file may have.
            if let Ok(normal) = normal {
                prop_assert_eq!(relative(&normal, true), Ok(plain), "{:?}", path);
            }
        }
    }

    #[test]
    fn what_a_client_has_is_not_sent_again_and_what_changed_is(
        one in stamps(), other in stamps(), now_ms in 0..8_000_u64
    ) {
        let now = UnixMs(1_790_000_000_000 + now_ms);
        let etag = one.etag(Coding::Identity, now);
        let validators = Validators {
            etag: Some(&etag),
            last_modified: Some(one.last_modified(now)),
            date: one.dated_at(now),
            now,
        };
        let settled = one.etag(Coding::Identity, UnixMs::NEVER);
        let known = with(IF_NONE_MATCH, &settled);
        prop_assert_eq!(validators.condition(&known), Condition::NotModified);
        prop_assert_eq!(validators.fail(&with(IF_MATCH, &settled)), !one.is_settled(now));
        prop_assert!(!validators.fail(&with(IF_MATCH, &HeaderValue::from_static("*"))));
        let date = HeaderValue::from_str(&http_date(one.last_modified(now))).unwrap();
        prop_assert!(!validators.fail(&with(IF_UNMODIFIED_SINCE, &date)));
        if (one.bytes, one.modified_ns) != (other.bytes, other.modified_ns) {
            let known = with(IF_NONE_MATCH, &other.etag(Coding::Identity, now));
            prop_assert_eq!(validators.condition(&known), Condition::Full);
            prop_assert!(validators.fail(&with(IF_MATCH, &other.etag(Coding::Identity, now))));
        }
    }
}
