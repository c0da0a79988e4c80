//! Copies that are late, positions in topics that patterns take, and inboxes that could not note what they missed.

use std::collections::BTreeMap;

use weir_broadcast::{Count, Draft, Remote, Since, Topics};
use weir_core::broadcast::{Class, Epoch, Limits, Position, Refused};
use weir_core::cache::UnixMs;

use crate::client::{Client, draft, node, publish, topic, work};

/// A message that another node has numbered.
fn accept(topics: &Topics, epoch: u64, offset: u64) {
    let remote = Remote {
        draft: Draft::new(topic("a"), offset.to_string()),
        position: at(epoch, offset),
        after: offset - 1,
        published_at: UnixMs(0),
    };
    assert!(topics.accept(remote, UnixMs(0)).unwrap());
}

fn at(epoch: u64, offset: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        offset,
    }
}

#[test]
fn who_has_more_than_a_late_copy_waits_for_it_and_gets_what_follows() {
    for (epoch, known) in [(9, 3), (8, 3)] {
        let (topics, shards) = node(Limits::default(), 1);
        (1..=known).for_each(|offset| accept(&topics, epoch, offset));
        let mut client = Client::new(&shards[0]);
        client.subscribe("a", Since::Position(at(9, 5)), 0);
        client.drain(0).unwrap();
        let first = if epoch == 9 { known + 1 } else { 1 };
        for offset in first..=6 {
            // It is told so as soon as the copy has what it has.
            assert_eq!(client.recovered.len(), usize::from(offset > 5));
            assert!(client.got.is_empty());
            accept(&topics, 9, offset);
            work(&shards[0], 250 * offset);
            client.drain(250 * offset).unwrap();
        }
        assert_eq!(
            (client.recovered.clone(), client.offsets("a")),
            (vec![true], vec![6])
        );
        work(&shards[0], 10_000);
        client.drain(10_000).unwrap();
        assert_eq!(client.recovered, [true]);
    }
}

#[test]
fn who_waits_for_a_life_that_does_not_come_gets_what_came_meanwhile_of_the_one_that_is_there() {
    let (topics, shards) = node(Limits::default(), 1);
    accept(&topics, 8, 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Position(at(9, 0)), 0);
    client.drain(0).unwrap();
    (2..=3).for_each(|offset| accept(&topics, 8, offset));
    work(&shards[0], 2_000);
    client.drain(2_000).unwrap();
    assert_eq!(
        (client.recovered.clone(), client.offsets("a")),
        (vec![false], vec![2, 3])
    );
}

#[test]
fn a_copy_that_stays_late_says_so_after_two_seconds_and_a_new_life_at_once() {
    let (topics, shards) = node(Limits::default(), 1);
    (1..=3).for_each(|offset| accept(&topics, 9, offset));
    let mut late = Client::new(&shards[0]);
    late.subscribe("a", Since::Position(at(9, 5)), 0);
    late.drain(0).unwrap();
    let due = shards[0].work(UnixMs(1_000)).due;
    late.drain(1_999).unwrap();
    assert!(due <= UnixMs(2_000) && late.recovered.is_empty());
    work(&shards[0], 2_000);
    late.drain(2_000).unwrap();
    assert_eq!(
        (late.recovered.clone(), late.position("a")),
        (vec![false], Some(at(9, 3)))
    );
    let mut other = Client::new(&shards[0]);
    other.subscribe("a", Since::Position(at(9, 5)), 2_000);
    other.drain(2_000).unwrap();
    accept(&topics, 10, 1);
    work(&shards[0], 2_001);
    other.drain(2_001).unwrap();
    assert_eq!(
        (other.recovered.clone(), other.offsets("a")),
        (vec![false], vec![1])
    );
}

#[test]
fn a_position_counts_where_a_pattern_has_the_topic_already() {
    let (topics, shards) = node(Limits::default(), 1);
    let first = publish(&topics, "a.b", Class::Stream, 10, 0).position;
    for _ in 0..2 {
        publish(&topics, "a.b", Class::Stream, 10, 0);
    }
    let mut client = Client::new(&shards[0]);
    client.subscribe_pattern("a.*");
    publish(&topics, "a.b", Class::Stream, 10, 0);
    work(&shards[0], 0);
    client.subscribe("a.b", Since::Position(first), 0);
    client.drain(0).unwrap();
    assert_eq!(
        (client.recovered.clone(), client.offsets("a.b")),
        (vec![true], vec![2, 3, 4])
    );
    client.connection.unsubscribe(&topic("a.b"));
    publish(&topics, "a.b", Class::Stream, 10, 0);
    work(&shards[0], 1_000);
    client.drain(1_000).unwrap();
    assert_eq!(
        client.offsets("a.b"),
        [2, 3, 4, 5],
        "the pattern still takes it"
    );
}

#[test]
fn who_comes_back_with_a_pattern_goes_on_in_more_topics_than_may_be_asked_for_by_name() {
    let (topics, shards) = node(Limits::default(), 1);
    let names: Vec<_> = (0..200).map(|n| format!("a.{n}")).collect();
    let mut client = Client::new(&shards[0]);
    client.subscribe_pattern("a.*");
    for name in &names {
        let position = publish(&topics, name, Class::Stream, 10, 0).position;
        publish(&topics, name, Class::Stream, 10, 0);
        client.resume_matched(name, position);
    }
    client.resume_matched("b", at(1, 1));
    client.drain(0).unwrap();
    assert_eq!((client.got.len(), client.recovered), (200, vec![true; 200]));
    assert_eq!(topics.stat(&topic("b")), None);
}

#[test]
fn the_first_message_of_a_topic_comes_also_when_an_inbox_could_note_nothing_any_more() {
    let limits = Limits {
        inbox_messages_max: 1,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe_pattern("a.*");
    for n in 0..4_500 {
        publish(&topics, &format!("a.{n}"), Class::Stream, 10, 0);
    }
    work(&shards[0], 0);
    for n in 0..4_500 {
        publish(&topics, &format!("a.{n}"), Class::Stream, 10, 0);
        work(&shards[0], 0);
        client.drain(0).unwrap();
    }
    work(&shards[0], 1_000);
    client.drain(1_000).unwrap();
    let mut offsets = BTreeMap::<String, Vec<u64>>::new();
    for got in &client.got {
        offsets
            .entry(got.topic.clone())
            .or_default()
            .push(got.offset);
    }
    for n in 0..4_500 {
        let came: Vec<_> = offsets.remove(&format!("a.{n}")).unwrap();
        assert_eq!(came, [1, 2], "a.{n}");
    }
    assert!(topics.counters(0).unwrap().get(Count::Missed) > 4_000);
}

#[test]
fn what_waits_for_a_replica_is_bounded_in_bytes_for_the_topic_and_for_the_node() {
    let mut limits = Limits {
        retained_bytes_max: 8 << 20,
        ..Limits::default()
    };
    limits.history.bytes_max = 3 << 20;
    let (topics, _shards) = node(limits, 1);
    for name in ["a", "b"] {
        let first = publish(&topics, name, Class::Stream, 10, 0).position;
        assert!(
            topics.confirm(&topic(name), first, true, UnixMs(0)),
            "it joins"
        );
    }
    let fill = |name: &str| {
        let held = |_| topics.publish(draft(name, Class::Stream, "", 500_000), UnixMs(0));
        (0..100).map(held).find_map(Result::err).unwrap()
    };
    let of_topic = fill("a");
    assert!(
        matches!(of_topic, Refused::Full { max, .. } if max == 3 << 20),
        "{of_topic}"
    );
    let of_node = fill("b");
    assert!(
        matches!(of_node, Refused::Full { max, .. } if max == 4 << 20),
        "{of_node}"
    );
    assert!(topics.account().held_bytes() <= 4 << 20);
    assert!(
        topics.held_after(&topic("a"), 1, 1).1,
        "the replica is to be done without"
    );
    for name in ["a", "b"] {
        topics.open(&topic(name), UnixMs(0));
    }
    assert_eq!(topics.account().held_bytes(), 0);
    publish(&topics, "a", Class::Stream, 500_000, 0);
}

#[test]
fn who_comes_from_the_replica_with_what_waits_for_it_misses_and_repeats_nothing() {
    let (topics, shards) = node(Limits::default(), 1);
    let first = publish(&topics, "a", Class::Stream, 1, 0).position;
    assert!(topics.confirm(&topic("a"), first, true, UnixMs(0)));
    let held = publish(&topics, "a", Class::Stream, 2, 0).position;
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Position(held), 0);
    work(&shards[0], 0);
    client.drain(0).unwrap();
    assert!(client.recovered.is_empty() && client.got.is_empty());
    topics.confirm(&topic("a"), held, true, UnixMs(10));
    work(&shards[0], 10);
    client.drain(10).unwrap();
    let next = publish(&topics, "a", Class::Stream, 3, 20).position;
    topics.confirm(&topic("a"), next, true, UnixMs(20));
    work(&shards[0], 20);
    client.drain(20).unwrap();
    assert_eq!(
        (client.recovered.clone(), client.offsets("a")),
        (vec![true], vec![3])
    );
    // What was never numbered here is another future still.
    let mut stranger = Client::new(&shards[0]);
    let offset = next.offset + 1;
    stranger.subscribe("a", Since::Position(Position { offset, ..next }), 20);
    stranger.drain(20).unwrap();
    assert_eq!(stranger.recovered, [false]);
}

#[test]
fn an_epoch_that_would_be_the_last_ends_no_topic() {
    let (topics, _shards) = node(Limits::default(), 1);
    let now = UnixMs(1_790_000_000_000);
    let known = topics
        .publish(Draft::new(topic("a"), "0"), now)
        .unwrap()
        .position;
    let last = at(u64::MAX, 1);
    let remote = Remote {
        draft: Draft::new(topic("a"), "1"),
        position: last,
        after: 0,
        published_at: now,
    };
    assert!(matches!(
        topics.accept(remote, now),
        Err(Refused::OutOfRange { .. })
    ));
    assert!(topics.follow(&topic("a"), last, now).is_err());
    assert!(topics.outdate(&topic("a"), last, now).is_err());
    let far = Position {
        offset: u64::MAX,
        ..known
    };
    assert!(topics.skip(&topic("a"), far, now).is_err());
    let next = topics
        .publish(Draft::new(topic("a"), "1"), now)
        .unwrap()
        .position;
    assert_eq!(next, Position { offset: 2, ..known });
}
