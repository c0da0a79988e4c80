use proptest::prelude::*;

use super::*;
use crate::store::limits::KEY_BYTES_MAX;

fn keys() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).unwrap()
}

#[test]
fn keys_are_where_the_layout_says() {
    let of = |key| String::from_utf8(keys().of(&key).unwrap().to_vec()).unwrap();
    let expected = [
        (Key::Epoch, "cfg/meta/epoch"),
        (
            Key::ProfileHead { scope: "group/eu" },
            "cfg/profile/group/eu/head",
        ),
        (
            Key::ProfileRevision {
                scope: "fleet",
                revision: 7,
            },
            "cfg/profile/fleet/rev/00000000000000000007",
        ),
        (Key::Weights { service: "vod" }, "cfg/service/vod/weights"),
        (Key::Orders { node: "n1" }, "cfg/node/n1/orders"),
        (Key::Token { hash: "ab" }, "cfg/token/ab"),
        (
            Key::Audit {
                day: "20260101",
                id: "1",
            },
            "audit/20260101/1",
        ),
        (Key::Presence { node: "n1" }, "live/node/n1/presence"),
        (Key::NodeStatus { node: "n1" }, "live/node/n1/status"),
        (
            Key::Endpoint {
                service: "vod",
                backend: "10.0.0.1:80",
            },
            "live/endpoint/vod/10.0.0.1:80",
        ),
        (Key::Leader, "live/election/controller"),
        (Key::Instance { instance: "cp-1" }, "live/cp/cp-1"),
    ];
    for (key, path) in expected {
        assert_eq!(of(key), format!("/weir/v1/default/{path}"));
    }
    assert_eq!(keys().leader(), keys().of(&Key::Leader).unwrap());
}

#[test]
fn a_name_that_reaches_elsewhere_is_refused() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "a/b", "a\nb", "a\u{85}b", &long] {
        let refused = keys().of(&Key::Orders { node: name }).unwrap_err();
        assert_eq!(refused.field, "node");
        assert!(Keys::new(name).is_err(), "{name:?}");
    }
    for scope in ["", "fleet/x", "group", "group/", "group/a/b", "team/a"] {
        assert!(check_scope(scope).is_err(), "{scope}");
    }
    let refused = check_scope("team/a").unwrap_err().to_string();
    assert!(refused.starts_with("scope is `team/a`; allowed: fleet"));
}

#[test]
fn the_revisions_of_a_scope_are_told_from_a_node_with_that_name() {
    let keys = keys();
    let revisions = keys.profile_revisions("override").unwrap();
    let of_scope = Key::ProfileRevision {
        scope: "override",
        revision: 3,
    };
    assert!(keys.of(&of_scope).unwrap().starts_with(&revisions));
    for scope in ["override/rev", "override/head"] {
        let head = keys.of(&Key::ProfileHead { scope }).unwrap();
        assert!(!head.starts_with(&revisions), "{scope}");
        assert_eq!(keys.parse(&head), Some(Key::ProfileHead { scope }));
    }
}

#[test]
fn the_longest_key_fits_a_store() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let key = Key::Endpoint {
        service: &name,
        backend: &name,
    };
    let longest = Keys::new(&name).unwrap().of(&key).unwrap();
    assert!(longest.len() <= KEY_BYTES_MAX);
}

#[test]
fn what_is_no_key_of_ours_is_not_read() {
    for other in [
        "/weir/v1/default/",
        "/weir/v1/other/live/cp/a",
        "/weir/v1/default/cfg/node/a/b/orders",
        "/weir/v1/default/cfg/profile/fleet/rev/7",
        "/weir/v1/default/cfg/profile/fleet/rev/99999999999999999999",
        "/weir/v1/default/live/node/presence",
        "/weir/v1/default/live/endpoint/s/a/b",
    ] {
        assert_eq!(keys().parse(other.as_bytes()), None, "{other}");
    }
    assert_eq!(keys().parse(b"/weir/v1/default/live/cp/\xff"), None);
}

proptest! {
    #[test]
    fn a_key_is_read_back_as_what_it_was(
        a in "[^/\\p{Cc}]{1,20}", b in "(rev|head|presence|[^/\\p{Cc}]{1,20})", revision: u64, kind in 0..11,
    ) {
        let scope = format!("{}/{b}", ["group", "node", "override"][a.len() % 3]);
        let key = match kind {
            0 => Key::ProfileHead { scope: &scope },
            1 => Key::ProfileRevision { scope: &scope, revision },
            2 => Key::Weights { service: &b },
            3 => Key::Orders { node: &b },
            4 => Key::Token { hash: &b },
            5 => Key::Audit { day: &a, id: &b },
            6 => Key::Presence { node: &b },
            7 => Key::NodeStatus { node: &b },
            8 => Key::Endpoint { service: &a, backend: &b },
            9 => Key::Instance { instance: &b },
            _ => Key::Leader,
        };
        let keys = keys();
        let written = keys.of(&key).unwrap();
        prop_assert_eq!(keys.parse(&written), Some(key));
    }

    #[test]
    fn reading_any_bytes_does_not_fail(bytes: Vec<u8>) {
        let mut key = keys().all().to_vec();
        key.extend(bytes);
        let _ = keys().parse(&key);
    }
}
