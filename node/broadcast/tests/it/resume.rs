//! Coming back.

use weir_broadcast::{Count, Since};
use weir_core::broadcast::{Class, Epoch, HistoryLimits, Limits, Position};
use weir_core::cache::UnixMs;

use crate::client::{Client, node, publish, topic, work};

fn kept(messages_max: usize) -> Limits {
    Limits {
        history: HistoryLimits {
            messages_max,
            ..HistoryLimits::default()
        },
        ..Limits::default()
    }
}

#[test]
fn who_comes_back_gets_all_of_it_or_is_told_what_is_gone() {
    let (topics, shards) = node(kept(20), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    publish(&topics, "a", Class::Stream, 10, 0);
    work(&shards[0], 0);
    client.drain(0).unwrap();
    let at = client.position("a").unwrap();
    drop(client);
    let mut now = 1;
    for (published, missing, recovered) in [(20, 0, vec![true]), (1, 1, vec![])] {
        for _ in 0..published {
            publish(&topics, "a", Class::Stream, 10, 1);
        }
        // What others have read of late is not remembered any more.
        now += 2_000;
        work(&shards[0], now);
        let mut client = Client::new(&shards[0]);
        client.subscribe("a", Since::Position(at), 1);
        client.drain(1).unwrap();
        assert_eq!(
            (client.got.len(), client.missing.len(), client.recovered),
            (20, missing, recovered)
        );
    }
}

#[test]
fn a_position_of_another_epoch_or_of_a_future_that_did_not_come_is_not_recovered() {
    let (topics, shards) = node(Limits::default(), 1);
    let at = publish(&topics, "a", Class::Stream, 10, 0).position;
    let future = Position {
        offset: at.offset + 1,
        ..at
    };
    let other = Position {
        epoch: Epoch(at.epoch.0 ^ 1),
        ..at
    };
    for since in [future, other] {
        let mut client = Client::new(&shards[0]);
        client.subscribe("a", Since::Position(since), 0);
        client.drain(0).unwrap();
        // All or nothing: it begins anew with everything that is kept.
        assert_eq!(
            (client.recovered.clone(), client.offsets("a")),
            (vec![false], vec![1])
        );
    }
    topics.restart(&topic("a"));
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Position(at), 0);
    client.drain(0).unwrap();
    assert_eq!(
        (client.recovered.clone(), client.got.len()),
        (vec![false], 0)
    );
}

#[test]
fn nothing_is_missed_or_doubled_between_history_and_what_comes_live() {
    // Published and handed to the shard, or not yet, or waiting for its batch, when somebody comes back.
    for (worked, late) in [(0, 0), (0, 5), (3, 0), (3, 5), (7, 9)] {
        let (topics, shards) = node(Limits::default(), 1);
        let mut early = Client::new(&shards[0]);
        early.subscribe("a", Since::Now, 0);
        let at = early.position("a").unwrap();
        for _ in 0..worked {
            publish(&topics, "a", Class::Stream, 10, 0);
        }
        work(&shards[0], 0);
        publish(&topics, "a", Class::Stream, 10, 0);
        let mut client = Client::new(&shards[0]);
        client.subscribe("a", Since::Position(at), 0);
        for n in 0..late {
            publish(&topics, "a", Class::Stream, 10, 0);
            if n == 2 {
                client.take(0).unwrap();
            }
        }
        work(&shards[0], 0);
        client.drain(0).unwrap();
        work(&shards[0], 100);
        client.drain(100).unwrap();
        assert_eq!(
            client.offsets("a"),
            (1..=worked + late + 1).collect::<Vec<_>>(),
            "{worked} {late}"
        );
        assert_eq!(client.recovered, [true]);
    }
}

#[test]
fn a_herd_that_comes_back_costs_one_reading() {
    let (topics, shards) = node(Limits::default(), 1);
    let at = publish(&topics, "a", Class::Stream, 10, 0).position;
    for _ in 0..20 {
        publish(&topics, "a", Class::Stream, 10, 0);
    }
    for n in 0..200 {
        let mut client = Client::new(&shards[0]);
        client.subscribe("a", Since::Position(at), 0);
        client.drain(0).unwrap();
        assert_eq!(
            (client.got.len(), client.recovered),
            (20, vec![true]),
            "{n}"
        );
    }
    // Each message once, and the two batches that hold them.
    assert_eq!(
        (
            topics.account().messages_encoded(),
            topics.account().batches_encoded()
        ),
        (20, 2)
    );
}

#[test]
fn a_topic_that_was_forgotten_begins_anew() {
    let (topics, shards) = node(Limits::default(), 1);
    let at = publish(&topics, "a", Class::Stream, 10, 0).position;
    topics.sweep(UnixMs(299_999));
    assert!(
        topics.position(&topic("a")).is_some(),
        "its history is kept"
    );
    topics.sweep(UnixMs(400_000));
    assert!(topics.position(&topic("a")).is_none());
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Position(at), 400_000);
    client.drain(400_000).unwrap();
    assert_eq!(client.recovered, [false]);
    assert_eq!(topics.counters(0).unwrap().get(Count::Restarted), 1);
    topics.sweep(UnixMs(900_000));
    assert!(topics.position(&topic("a")).is_some(), "somebody has it");
}

#[test]
fn everything_that_is_kept_comes_to_who_asks_for_the_start() {
    let (topics, shards) = node(kept(5), 1);
    for _ in 0..9 {
        publish(&topics, "a", Class::Stream, 10, 0);
    }
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Start, 0);
    client.drain(0).unwrap();
    assert_eq!(
        (client.offsets("a"), client.missing.len()),
        (vec![5, 6, 7, 8, 9], 0)
    );
}
