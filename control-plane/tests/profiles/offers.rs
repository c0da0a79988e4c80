//! What nodes are offered, from a book alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::profiles::{ProfileBook, Revision, Selector, Settings, effective};
use weir_control_plane::records::encode;
use weir_core::tuning::{Edit, Profile, Scope, apply_edits};
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1::TunedProfile;
use weir_proto::sync::content_hash;
use weir_proto::tuning::v1 as pb;

use crate::support::{labels, node};

/// A book that the test writes itself.
pub(crate) struct Shelf {
    pub(crate) book: ProfileBook,
    pub(crate) keys: Keys,
    at: u64,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        Self {
            book: ProfileBook::new(keys.clone()),
            keys,
            at: 1,
        }
    }

    pub(crate) fn put(&mut self, revision: &Revision) {
        self.at += 1;
        let key = self.keys.profile_head(&revision.scope);
        assert!(self.book.put(&key, &revision.write(), self.at));
    }
}

/// A revision with these settings.
pub(crate) fn revision(scope: &str, set: &[(&str, &str)]) -> Revision {
    let edit = |(path, value): &(&str, &str)| Edit::Set((*path).to_owned(), (*value).to_owned());
    let edits: Vec<Edit> = set.iter().map(edit).collect();
    let scope: Scope = scope.parse().unwrap();
    Revision {
        revision: 1,
        settings: Settings::known(apply_edits(&Profile::new(), &edits).unwrap()),
        group: matches!(scope, Scope::Group(_)).then(Selector::default),
        ..Revision::none(scope)
    }
}

pub(crate) fn group(
    name: &str,
    of: &[(&str, &str)],
    priority: u32,
    set: &[(&str, &str)],
) -> Revision {
    let mut revision = revision(&format!("group/{name}"), set);
    revision.group = Some(Selector {
        labels: labels(of),
        priority,
    });
    revision
}

#[test]
fn five_thousand_nodes_with_the_same_layers_cost_one_merge_and_one_encoding() {
    let mut shelf = Shelf::new();
    shelf.put(&revision("fleet", &[("ingress.headers_max", "7")]));
    for n in 0..60 {
        let zone = format!("z{n}");
        shelf.put(&group(
            &zone,
            &[("zone", &zone)],
            n,
            &[("upstream.idle_max", "200")],
        ));
    }
    let view = shelf.book.snapshot();
    let nodes: Vec<_> = (0..5_000)
        .map(|n| {
            node(
                &format!("n{n}"),
                &[("zone", "z7"), ("rack", &n.to_string())],
            )
        })
        .collect();
    let begun = tokio::time::Instant::now();
    let first = view.offer_for(&nodes[0].id, &nodes[0].labels);
    for node in &nodes {
        assert!(Arc::ptr_eq(&first, &view.offer_for(&node.id, &node.labels)));
    }
    assert_eq!(view.offers_made(), 1);
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    // Another node's profile is another offer, and no new one for all the others.
    shelf.put(&revision("node/n1", &[("ingress.headers_max", "8")]));
    let view = shelf.book.snapshot();
    for node in &nodes {
        view.offer_for(&node.id, &node.labels);
    }
    assert_eq!(view.offers_made(), 2);
    assert!(Arc::ptr_eq(&first, &view.offer_for("n0", &nodes[0].labels)));
}

#[test]
fn threads_at_once_make_one_offer() {
    let mut shelf = Shelf::new();
    shelf.put(&revision("fleet", &[("ingress.headers_max", "7")]));
    let view = shelf.book.snapshot();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let view = &view;
            scope.spawn(move || view.offer_for(&format!("n{n}"), &BTreeMap::new()));
        }
    });
    assert_eq!(view.offers_made(), 1);
}

#[test]
fn an_offer_holds_the_layers_of_its_node_and_says_where_each_value_comes_from() {
    let mut shelf = Shelf::new();
    shelf.put(&revision(
        "fleet",
        &[("ingress.headers_max", "1"), ("upstream.idle_max", "50")],
    ));
    shelf.put(&group(
        "eu",
        &[("zone", "eu")],
        9,
        &[("ingress.headers_max", "2")],
    ));
    shelf.put(&group(
        "edge",
        &[("kind", "edge")],
        5,
        &[("ingress.headers_max", "3")],
    ));
    shelf.put(&revision("node/n", &[("balancer.health_rise", "4")]));
    let mut over = revision("override/n", &[("balancer.health_rise", "5")]);
    over.until_unix_ms = 1_000;
    shelf.put(&over);
    let mut all = revision(
        "override",
        &[("balancer.health_rise", "6"), ("balancer.health_fall", "6")],
    );
    all.until_unix_ms = 2_000;
    shelf.put(&all);
    let view = shelf.book.snapshot();
    let both = labels(&[("zone", "eu"), ("kind", "edge"), ("rack", "1")]);
    let offer = view.offer_for("n", &both);
    assert_eq!(offer.hash, content_hash(&offer.payload));
    assert_eq!((offer.revision, offer.overrides_until), (7, Some(1_000)));
    let tuned = TunedProfile::decode(&*offer.payload).unwrap();
    let base = Settings::decode(&tuned.base.unwrap()).texts();
    assert_eq!(base["ingress.headers_max"], "2");
    assert_eq!(base["balancer.health_rise"], "4");
    let overrides: Vec<(String, u64)> = tuned
        .overrides
        .into_iter()
        .map(|timed| (timed.setting.unwrap().path, timed.until_unix_ms))
        .collect();
    assert_eq!(
        overrides,
        [
            ("balancer.health_fall".to_owned(), 2_000),
            ("balancer.health_rise".to_owned(), 1_000)
        ]
    );
    let knobs = effective(&view, "n", &both);
    let told = |path: &str| {
        let knob = knobs.iter().find(|knob| knob.path == path).unwrap();
        let by = knob.given_by.as_ref().map(|(scope, _)| scope.to_string());
        (knob.value.clone(), by.unwrap_or_default())
    };
    assert_eq!(
        told("balancer.health_rise"),
        ("5".into(), "override/n".into())
    );
    assert_eq!(told("ingress.headers_max"), ("2".into(), "group/eu".into()));
    assert_eq!(told("upstream.idle_max"), ("50".into(), "fleet".into()));
    assert_eq!(told("balancer.policy").1, "");
    // Overrides end one by one.
    assert!(shelf.book.expire(1_500));
    let view = shelf.book.snapshot();
    assert_eq!(view.next_expiry(), Some(2_000));
    let offer = view.offer_for("n", &both);
    assert_eq!(offer.overrides_until, Some(2_000));
    assert!(shelf.book.expire(9_999));
    let offer = shelf.book.snapshot().offer_for("n", &both);
    assert_eq!((offer.overrides_until, offer.revision), (None, 5));
}

#[test]
fn what_this_version_cannot_read_is_offered_as_it_is() {
    let count = |path: &str, count| pb::Setting {
        path: path.to_owned(),
        value: Some(pb::Value {
            kind: Some(pb::value::Kind::Count(count)),
        }),
    };
    let record = |scope: &str, settings: Vec<pb::Setting>| {
        encode(&records::Profile {
            scope: scope.to_owned(),
            revision: 1,
            profile: Some(pb::Profile { settings }),
            ..records::Profile::default()
        })
    };
    let mut shelf = Shelf::new();
    let fleet = vec![
        count("ingress.headers_max", 1_000_000),
        count("ingress.warp", 9),
    ];
    let fleet = record("fleet", fleet);
    shelf
        .book
        .put(&shelf.keys.profile_head(&Scope::Fleet), &fleet, 5);
    let offered = |shelf: &mut Shelf| {
        let offer = shelf.book.snapshot().offer_for("n", &BTreeMap::new());
        let tuned = TunedProfile::decode(&*offer.payload).unwrap();
        Settings::decode(&tuned.base.unwrap()).texts()
    };
    let found = offered(&mut shelf);
    assert_eq!(found["ingress.warp"], "9");
    assert_eq!(found["ingress.headers_max"], "1000000");
    let knobs = effective(&shelf.book.snapshot(), "n", &BTreeMap::new());
    let last = knobs.last().unwrap();
    assert_eq!(
        (&*last.path, &*last.value, last.knob),
        ("ingress.warp", "9", None)
    );
    // A nearer layer that is understood wins over it, and the other way round.
    shelf.put(&revision("node/n", &[("ingress.headers_max", "8")]));
    assert_eq!(offered(&mut shelf)["ingress.headers_max"], "8");
    let near = record("node/n", vec![count("ingress.headers_max", 2_000_000)]);
    let key = shelf.keys.profile_head(&Scope::Node("n".to_owned()));
    shelf.book.put(&key, &near, 9);
    assert_eq!(offered(&mut shelf)["ingress.headers_max"], "2000000");
    // Of groups, the one of the higher priority.
    for (name, priority, value) in [("a", 9, 91), ("b", 5, 51)] {
        let mut group = group(name, &[], priority, &[]);
        let settings = vec![count("ingress.warp", value)];
        group.settings = Settings::decode(&pb::Profile { settings });
        shelf.put(&group);
    }
    assert_eq!(offered(&mut shelf)["ingress.warp"], "91");
}

#[test]
fn a_record_that_cannot_be_read_leaves_what_was_there_and_is_told() {
    let mut shelf = Shelf::new();
    shelf.put(&revision("fleet", &[("ingress.headers_max", "7")]));
    let before = shelf.book.snapshot().offer_for("n", &BTreeMap::new());
    let key = shelf.keys.profile_head(&Scope::Fleet);
    for value in [&b"\x09newer"[..], b"", b"\x01\xff\xff"] {
        assert!(shelf.book.put(&key, value, 9));
        let view = shelf.book.snapshot();
        assert!(view.problems()[0].starts_with("the profile of fleet cannot be read: `/weir/"));
        assert!(Arc::ptr_eq(&before, &view.offer_for("n", &BTreeMap::new())));
    }
    shelf.put(&revision("fleet", &[("ingress.headers_max", "8")]));
    assert!(shelf.book.snapshot().problems().is_empty());
    assert!(
        !shelf
            .book
            .put(b"/weir/v1/default/cfg/node/n/orders", b"x", 10)
    );
    assert!(shelf.book.delete(&key));
    assert!(!shelf.book.delete(&key));
    let offer = shelf.book.snapshot().offer_for("n", &BTreeMap::new());
    assert_eq!((offer.revision, offer.payload.len()), (0, 2));
}

/// Not a promise but a bound that would show a blunder: every node with layers of its own.
#[test]
fn a_fleet_of_five_thousand_is_offered_in_good_time() {
    let mut shelf = Shelf::new();
    shelf.put(&revision("fleet", &[("ingress.headers_max", "7")]));
    for n in 0..900 {
        shelf.put(&revision(
            &format!("node/n{n}"),
            &[("upstream.idle_max", "200")],
        ));
    }
    let view = shelf.book.snapshot();
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    let begun = Instant::now();
    for n in 0..5_000 {
        view.offer_for(&format!("n{n}"), &BTreeMap::new());
    }
    assert_eq!(view.offers_made(), 901);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
