//! Which ends are waited for.

use bytes::Bytes;
use weir_core::cache::UnixMs;
use weir_core::purge::Hlc;

use super::ends::{EndLimits, Ends};
use super::value::{fields, stored, tag_ids, version};
use crate::entry::{Entry, Resource};

const LIMITS: EndLimits = EndLimits {
    ends_max: 4,
    bytes_max: 1 << 20,
};

fn value(key: &str, tag: &str, ends: u64) -> Entry {
    let resource = Resource::of_value("values", key).unwrap();
    let at = Hlc::new(1, 0, 1);
    let tags = [tag.to_owned()];
    let fields = fields(&version(at), &tags).unwrap();
    let tags = tag_ids(&resource, &tags);
    let stored = stored(fields, UnixMs(1), UnixMs(ends));
    Entry::new(
        resource,
        stored,
        at,
        tags,
        Box::new([Bytes::from_static(b"v")]),
    )
}

fn keys(ends: &mut Ends, now: u64) -> Vec<String> {
    let come = ends.come(UnixMs(now)).into_iter();
    come.map(|ending| ending.resource.path().to_owned())
        .collect()
}

#[test]
fn a_hot_key_ends_once_and_takes_one_place() {
    let mut ends = Ends::new(LIMITS);
    for number in 0..100 {
        assert!(ends.add(&value("hot", "t", 10 + number)));
    }
    assert!(ends.add(&value("soon", "t", 5)));
    assert_eq!(keys(&mut ends, 108), ["soon"]);
    assert_eq!(keys(&mut ends, 109), ["hot"]);
    assert!(keys(&mut ends, 1_000).is_empty());
}

#[test]
fn what_there_is_no_room_for_is_told_once_until_half_of_it_is_free() {
    let mut ends = Ends::new(LIMITS);
    for number in 0..4 {
        assert!(ends.add(&value(&number.to_string(), "t", 10 + number)));
    }
    assert!(!ends.misses());
    assert!(!ends.add(&value("4", "t", 20)), "the first is told");
    assert!(ends.add(&value("5", "t", 20)));
    assert!(ends.misses());
    assert_eq!(keys(&mut ends, 10), ["0"]);
    assert!(ends.add(&value("6", "t", 20)));
    assert!(ends.add(&value("7", "t", 20)), "no room, and told before");
    assert_eq!(keys(&mut ends, 13), ["1", "2", "3"]);
    assert!(!ends.misses());
    for number in 0..3 {
        assert!(ends.add(&value(&format!("late {number}"), "t", 30)));
    }
    assert!(!ends.add(&value("9", "t", 30)), "told anew");
    ends.clear();
    assert!(!ends.misses() && keys(&mut ends, 1_000).is_empty());
}

#[test]
fn ends_are_bounded_by_bytes() {
    let mut ends = Ends::new(EndLimits {
        ends_max: 1_000,
        bytes_max: 4_096,
    });
    let long = "t".repeat(1_000);
    let kept = (0..10).take_while(|number| ends.add(&value(&number.to_string(), &long, 10)));
    assert_eq!(kept.count(), 3);
    assert_eq!(keys(&mut ends, 10).len(), 3);
}
