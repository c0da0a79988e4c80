use proptest::prelude::*;

use super::*;
use crate::store::limits::KEY_BYTES_MAX;

fn keys() -> Keys {
    Keys::new(DEFAULT_NAMESPACE).unwrap()
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

#[test]
fn keys_are_where_the_layout_says() {
    let of = |key| String::from_utf8(keys().of(&key).unwrap().to_vec()).unwrap();
    let (group, fleet) = (scope("group/eu"), scope("fleet"));
    let (service, backend) = ("vod", "10.0.0.1:80");
    let first = Key::ProfileRevision {
        scope: fleet,
        revision: 7,
    };
    let done = Key::Audit {
        at_unix_ms: 1_767_225_600_000,
        id: 0xab,
    };
    let gone = Key::Gone {
        service,
        backend,
        registration: "ab",
    };
    let expected = [
        (Key::Epoch, "cfg/meta/epoch"),
        (Key::TokensMark, "cfg/meta/tokens"),
        (
            Key::ProfileHead { scope: group },
            "cfg/profile/group/eu/head",
        ),
        (first, "cfg/profile/fleet/rev/00000000000000000007"),
        (Key::ProfileSerial, "cfg/profile/serial"),
        (Key::Weights { service }, "cfg/service/vod/weights"),
        (Key::Orders { node: "n1" }, "cfg/node/n1/orders"),
        (Key::Token { hash: "ab" }, "cfg/token/ab"),
        (done, "audit/20260101/00000001767225600000-00000000000000ab"),
        (Key::Presence { node: "n1" }, "live/node/n1/presence"),
        (Key::NodeStatus { node: "n1" }, "live/node/n1/status"),
        (
            Key::Endpoint { service, backend },
            "live/endpoint/vod/10.0.0.1:80",
        ),
        (gone, "gone/vod/10.0.0.1:80/ab"),
        (Key::Leader, "live/election/controller"),
        (Key::Instance { instance: "cp-1" }, "live/cp/cp-1"),
    ];
    for (key, path) in expected {
        let at = of(key.clone());
        assert_eq!(at, format!("/weir/v1/default/{path}"));
        assert_eq!(keys().parse(at.as_bytes()), Some(key));
    }
}

#[test]
fn a_name_that_reaches_elsewhere_is_refused() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "a/b", "a\nb", "a\u{85}b", &long] {
        let refused = keys().of(&Key::Orders { node: name }).unwrap_err();
        assert_eq!(refused.field, "node");
        assert!(Keys::new(name).is_err(), "{name:?}");
    }
}

#[test]
fn the_revisions_of_a_scope_are_told_from_a_node_with_that_name() {
    let keys = keys();
    let revisions = keys.profile_revisions(&Scope::Override);
    let of_scope = keys.profile_revision(&Scope::Override, 3);
    assert!(of_scope.starts_with(&revisions));
    for name in ["override/rev", "override/head"] {
        let scope = scope(name);
        let head = keys.profile_head(&scope);
        assert!(!head.starts_with(&revisions), "{name}");
        assert!(!keys.profile_revision(&scope, 1).starts_with(&revisions));
        assert_eq!(keys.parse(&head), Some(Key::ProfileHead { scope }));
    }
}

#[test]
fn what_was_done_sorts_by_time() {
    let keys = keys();
    let from = keys.audit_from(1_000);
    assert!(keys.audit_record(999, u64::MAX) < from);
    assert!(from < keys.audit_record(1_000, 0));
    assert!(
        keys.audit_record(u64::MAX, 0)
            .starts_with(&keys.audit_from(u64::MAX))
    );
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
        "/weir/v1/default/cfg/profile/team/a/head",
        "/weir/v1/default/cfg/profile/group/a/b/head",
        "/weir/v1/default/cfg/profile/head",
        "/weir/v1/default/audit/20260101/00000000000000000000-0000000000000000",
        "/weir/v1/default/audit/19700101/00000000000000000000-+000000000000000",
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
        a in "[^/\\p{Cc}]{1,20}", b in "(rev|head|presence|[^/\\p{Cc}]{1,20})",
        name in "(rev|head|serial|[-_.a-zA-Z0-9]{1,63})", number: u64, kind in 0..13,
    ) {
        let scope = match number % 5 {
            0 => Scope::Fleet,
            1 => Scope::Group(name),
            2 => Scope::Node(name),
            3 => Scope::Override,
            _ => Scope::NodeOverride(name),
        };
        let key = match kind {
            0 => Key::ProfileHead { scope },
            1 => Key::ProfileRevision { scope, revision: number },
            2 => Key::Weights { service: &b },
            3 => Key::Orders { node: &b },
            4 => Key::Token { hash: &b },
            5 => Key::Audit { at_unix_ms: number % LAST_UNIX_MS, id: number },
            6 => Key::Presence { node: &b },
            7 => Key::NodeStatus { node: &b },
            8 => Key::Endpoint { service: &a, backend: &b },
            9 => Key::Instance { instance: &b },
            10 => Key::ProfileSerial,
            11 => Key::TokensMark,
            _ => Key::Leader,
        };
        let keys = keys();
        let written = keys.of(&key).unwrap();
        prop_assert_eq!(keys.parse(&written), Some(key));
    }

    #[test]
    fn reading_any_bytes_does_not_fail(bytes: Vec<u8>) {
        let mut key = keys().below("").to_vec();
        key.extend(bytes);
        let _ = keys().parse(&key);
    }
}
