//! Order, and what it may be broken for: nothing within a topic.

use weir_broadcast::{Encoding, Remote, Since, Writing};
use weir_core::broadcast::{BatchLimits, BatchMode, Class, Epoch, Limits, Position};
use weir_core::cache::UnixMs;

use crate::client::{Client, draft, node, publish, topic, work};

#[test]
fn a_critical_message_overtakes_other_topics_and_never_its_own() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut client = Client::new(&shards[0]);
    for name in ["a", "b"] {
        client.subscribe(name, Since::Now, 0);
    }
    // Of both, one went and two wait in the outbox or for their batch.
    for name in ["b", "a", "b", "a", "b", "a"] {
        publish(&topics, name, Class::Stream, 10, 0);
    }
    work(&shards[0], 0);
    publish(&topics, "a", Class::Critical, 10, 1);
    publish(&topics, "a", Class::Stream, 10, 1);
    work(&shards[0], 200);
    work(&shards[0], 300);
    client.drain(300).unwrap();
    assert_eq!(
        (client.offsets("a"), client.offsets("b")),
        (vec![1, 2, 3, 4, 5], vec![1, 2, 3])
    );
    let all: Vec<_> = client
        .got
        .iter()
        .map(|got| (&*got.topic, got.offset))
        .collect();
    let critical = all.iter().position(|got| *got == ("a", 4)).unwrap();
    assert_eq!(critical, 3, "only its own topic is before it: {all:?}");
}

#[test]
fn fixed_mode_sends_100_messages_in_exactly_10_frames() {
    let limits = Limits {
        batch: BatchLimits {
            mode: BatchMode::Fixed,
            ..BatchLimits::default()
        },
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let mut clients: Vec<_> = (0..100).map(|_| Client::new(&shards[0])).collect();
    for client in &mut clients {
        client.subscribe("a", Since::Now, 0);
    }
    for n in 0..100 {
        publish(&topics, "a", Class::Stream, 10, n);
        work(&shards[0], n);
    }
    for client in &mut clients {
        client.drain(1_000).unwrap();
        assert_eq!((client.frames, client.got.len()), (10, 100));
    }
}

#[test]
fn the_newest_message_of_each_key_comes_and_the_others_are_counted() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    publish(&topics, "a", Class::Stream, 10, 0);
    for key in ["x", "y", "x", "x", "y"] {
        topics
            .publish(draft("a", Class::Latest, key, 10), UnixMs(0))
            .unwrap();
    }
    work(&shards[0], 0);
    work(&shards[0], 100);
    client.drain(100).unwrap();
    assert_eq!(client.offsets("a"), [1, 5, 6]);
    assert_eq!(client.batches.last().unwrap().conflated, 3);
}

#[test]
fn everybody_sees_one_order_of_a_topic_whoever_publishes() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    let publisher = |letter: u8| {
        let topics = &topics;
        move || {
            for _ in 0..500 {
                topics
                    .publish(
                        draft("a", Class::Stream, "", usize::from(letter)),
                        UnixMs(0),
                    )
                    .unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for letter in 0..4 {
            scope.spawn(publisher(letter));
        }
    });
    work(&shards[0], 0);
    work(&shards[0], 100);
    client.drain(100).unwrap();
    assert_eq!(client.offsets("a"), (1..=2_000).collect::<Vec<_>>());
}

#[test]
fn a_message_with_a_key_that_was_published_before_is_that_message() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    let mut keyed = draft("a", Class::Stream, "", 10);
    keyed.idempotency_key = Some("order-7".into());
    let first = topics.publish(keyed.clone(), UnixMs(0)).unwrap();
    publish(&topics, "a", Class::Stream, 10, 1);
    let second = topics.publish(keyed.clone(), UnixMs(119_999)).unwrap();
    assert_eq!(
        (second.position, second.is_duplicate),
        (first.position, true)
    );
    let third = topics.publish(keyed, UnixMs(120_000)).unwrap();
    assert_eq!((third.position.offset, third.is_duplicate), (3, false));
    work(&shards[0], 120_000);
    work(&shards[0], 120_100);
    client.drain(120_100).unwrap();
    assert_eq!(client.offsets("a"), [1, 2, 3]);
}

#[test]
fn numbers_of_another_node_are_kept_and_what_its_link_lost_is_a_gap() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut client = Client::new(&shards[0]);
    let remote = |epoch, offset, after| Remote {
        draft: draft("a", Class::Stream, "", 10),
        position: Position {
            epoch: Epoch(epoch),
            offset,
        },
        after,
        published_at: UnixMs(0),
    };
    assert_eq!(topics.accept(remote(5, 41, 40), UnixMs(0)), Ok(true));
    client.subscribe("a", Since::Now, 0);
    for (offset, after, is_new) in [
        (42, 41, true),
        (42, 41, false),
        (45, 44, true),
        (48, 45, true),
    ] {
        assert_eq!(
            topics.accept(remote(5, offset, after), UnixMs(0)),
            Ok(is_new)
        );
    }
    work(&shards[0], 0);
    work(&shards[0], 100);
    client.drain(100).unwrap();
    assert_eq!(client.offsets("a"), [42, 45, 48]);
    let missing: Vec<_> = client
        .missing
        .iter()
        .map(|gone| (gone.from, gone.to, gone.conflated))
        .collect();
    assert_eq!(missing, [(43, 44, false), (46, 47, true)]);
    // The next owner did not have all of it.
    assert_eq!(topics.accept(remote(6, 1, 0), UnixMs(200)), Ok(true));
    work(&shards[0], 200);
    client.drain(200).unwrap();
    assert_eq!(
        (client.offsets("a"), client.recovered),
        (vec![42, 45, 48, 1], vec![false])
    );
    assert_eq!(topics.position(&topic("a")).unwrap().epoch, Epoch(6));
}

#[test]
fn what_gathers_while_a_topic_goes_out_goes_together_to_each_of_very_many_subscribers() {
    let limits = Limits {
        batch: BatchLimits {
            messages_max: 1,
            ..BatchLimits::default()
        },
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let many: Vec<_> = (0..10_000)
        .map(|_| shards[0].connect("one of many", Encoding::WebSocketJson))
        .collect();
    for connection in &many {
        let subscribed = connection.subscribe(&topic("a"), Since::Now, UnixMs(0));
        subscribed.unwrap();
    }
    let mut writing = Writing::new();
    let mut writes = vec![Vec::new(); many.len()];
    let mut step = |now| {
        let more = shards[0].work(UnixMs(now)).more;
        for (connection, writes) in many.iter().zip(&mut writes) {
            connection.take(&mut writing, || UnixMs(now)).unwrap();
            if !writing.is_empty() {
                writes.push(writing.frames());
            }
            while writing.pop().is_some() {}
        }
        more
    };
    publish(&topics, "a", Class::Stream, 10, 0);
    assert!(step(0), "not all have it yet");
    for now in 1..=3 {
        publish(&topics, "a", Class::Stream, 10, now);
    }
    while step(4) {}
    let other = writes.iter().find(|writes| **writes != [1, 3]);
    assert_eq!(other, None, "frames of each write");
}
