//! Bounds, and what happens at them.

use bytes::Bytes;
use weir_broadcast::{Count, Since};
use weir_core::broadcast::{
    Class, Content, CutReason, HistoryLimits, Limits, OutboxLimits, Pattern,
};
use weir_core::cache::UnixMs;
use weir_proto::node::v1::delivery::What;

use crate::client::{Client, draft, node, publish, topic, work};

const SMALL: OutboxLimits = OutboxLimits {
    bytes_max: 10_000,
    critical_bytes_max: 1_000,
    age_max: std::time::Duration::from_secs(10),
};

fn small_outboxes() -> Limits {
    Limits {
        outbox: SMALL,
        ..Limits::default()
    }
}

#[test]
fn an_inbox_is_bounded_and_what_does_not_fit_is_read_from_history() {
    let limits = Limits {
        inbox_messages_max: 10,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    client.subscribe("b", Since::Now, 0);
    for _ in 0..50 {
        publish(&topics, "a", Class::Stream, 10, 0);
    }
    // Nothing follows on this one that would show that it was missed.
    publish(&topics, "b", Class::Stream, 10, 0);
    work(&shards[0], 0);
    client.drain(0).unwrap();
    assert_eq!(
        (
            client.offsets("a").len(),
            client.offsets("b").len(),
            client.missing.len()
        ),
        (50, 1, 0)
    );
    assert_eq!(topics.counters(0).unwrap().get(Count::Missed), 41);
}

#[test]
fn one_that_reads_nothing_costs_the_others_nothing_and_the_node_a_bounded_amount() {
    let mut limits = small_outboxes();
    limits.outbox.bytes_max = 100_000;
    let (topics, shards) = node(limits, 1);
    let (mut slow, mut quick) = (Client::new(&shards[0]), Client::new(&shards[0]));
    for client in [&mut slow, &mut quick] {
        client.subscribe("a", Since::Now, 0);
    }
    for n in 0..1_000 {
        publish(&topics, "a", Class::Stream, 1_000, n * 10);
        work(&shards[0], n * 10);
        quick.drain(n * 10).unwrap();
        let waiting = shards[0].connections(UnixMs(n * 10))[0].waiting_bytes;
        assert!(waiting <= 100_000 + 1_000, "{waiting}");
    }
    work(&shards[0], 10_100);
    quick.drain(10_100).unwrap();
    assert_eq!(
        (quick.got.len(), quick.missing.len(), quick.controls.len()),
        (1_000, 0, 0)
    );
    slow.drain(10_100).unwrap();
    // It lost what history does not have any more, was told so, and was told that it is slow.
    let gone: u64 = slow
        .missing
        .iter()
        .map(|gone| gone.to - gone.from + 1)
        .sum();
    assert_eq!(slow.got.len() as u64 + gone, 1_000);
    assert!(slow.got.len() >= 100 && matches!(slow.controls[0], What::Slow(_)));
    assert_eq!(slow.offsets("a").last(), Some(&1_000));
}

#[test]
fn what_waits_too_long_is_dropped_or_cuts_the_connection() {
    let (topics, shards) = node(Limits::default(), 1);
    let (mut stream, mut critical) = (Client::new(&shards[0]), Client::new(&shards[0]));
    stream.subscribe("a", Since::Now, 0);
    critical.subscribe("b", Since::Now, 0);
    publish(&topics, "a", Class::Stream, 10, 0);
    publish(&topics, "b", Class::Critical, 10, 0);
    work(&shards[0], 0);
    work(&shards[0], 10_000);
    assert_eq!(topics.counters(0).unwrap().get(Count::ShedOld), 0);
    work(&shards[0], 11_001);
    assert_eq!(
        shards[0]
            .connections(UnixMs(11_001))
            .iter()
            .map(|info| info.behind)
            .sum::<usize>(),
        1
    );
    stream.drain(11_001).unwrap();
    assert_eq!((stream.offsets("a"), stream.missing.len()), (vec![1], 0));
    assert_eq!(critical.drain(11_001), Err(CutReason::Slow));
    assert_eq!(topics.counters(0).unwrap().cut(CutReason::Slow), 1);
}

#[test]
fn who_does_not_take_what_is_critical_is_cut() {
    let (topics, shards) = node(small_outboxes(), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    for n in 0..20 {
        publish(&topics, "a", Class::Critical, 1_000, n);
    }
    work(&shards[0], 20);
    assert_eq!(client.take(20), Err(CutReason::Slow));
    assert_eq!(client.got.len(), 0);
}

#[test]
fn who_falls_behind_what_is_critical_is_cut_and_not_told_of_a_gap() {
    let limits = Limits {
        history: HistoryLimits {
            messages_max: 5,
            ..HistoryLimits::default()
        },
        ..small_outboxes()
    };
    let (topics, shards) = node(limits, 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    for n in 0..40 {
        let class = if n == 20 {
            Class::Critical
        } else {
            Class::Stream
        };
        publish(&topics, "a", class, 1_000, n * 10);
        work(&shards[0], n * 10);
    }
    assert_eq!(client.drain(400), Err(CutReason::Slow));
}

#[test]
fn ephemeral_messages_are_dropped_first_and_the_oldest_of_them() {
    let (topics, shards) = node(small_outboxes(), 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe("a", Since::Now, 0);
    client.subscribe("b", Since::Now, 0);
    publish(&topics, "b", Class::Stream, 10, 0);
    for n in 0..20 {
        let mut message = draft("a", Class::Ephemeral, "", 1_000);
        message.data = Bytes::from(vec![n; 1_000]);
        topics.publish(message, UnixMs(u64::from(n) * 200)).unwrap();
        work(&shards[0], u64::from(n) * 200);
    }
    client.drain(4_000).unwrap();
    let kept: Vec<_> = client
        .got
        .iter()
        .filter(|got| got.topic == "a")
        .map(|got| got.data[0])
        .collect();
    assert!(
        (3..=4).contains(&kept.len()) && kept.last() == Some(&19),
        "{kept:?}"
    );
    assert_eq!((client.offsets("b"), client.missing.len()), (vec![1], 0));
    assert_eq!(
        topics.counters(0).unwrap().get(Count::DroppedEphemeral),
        20 - kept.len() as u64
    );
}

#[test]
fn what_many_wait_for_is_charged_to_each_and_once_to_the_node() {
    let (topics, shards) = node(Limits::default(), 1);
    let mut clients: Vec<_> = (0..1_000).map(|_| Client::new(&shards[0])).collect();
    for client in &mut clients {
        client.subscribe("a", Since::Now, 0);
    }
    publish(&topics, "a", Class::Stream, 10_000, 0);
    work(&shards[0], 0);
    assert!(
        shards[0]
            .connections(UnixMs(0))
            .iter()
            .all(|info| info.waiting_bytes > 10_000)
    );
    let held = topics.account().bytes();
    // Data, the encoded message, and the batch.
    assert!((30_000..32_000).contains(&held), "{held}");
    assert_eq!(
        (
            topics.account().messages_encoded(),
            topics.account().batches_encoded()
        ),
        (1, 1)
    );
    for client in &mut clients {
        client.drain(0).unwrap();
        client.got.clear();
        client.batches.clear();
    }
    assert!(topics.account().bytes() < 21_000, "the batch is gone");
}

#[test]
fn the_oldest_messages_of_all_topics_make_room() {
    let limits = Limits {
        retained_bytes_max: 100_000,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let at = publish(&topics, "old", Class::Stream, 10_000, 0).position;
    for n in 1..100 {
        publish(&topics, &format!("t.{n}"), Class::Stream, 10_000, n);
        assert!(topics.account().bytes() <= 100_000);
    }
    let kept: Vec<_> = topics
        .stats()
        .into_iter()
        .filter(|stat| stat.kept_messages > 0)
        .collect();
    assert!(
        kept.len() >= 8 && kept.iter().all(|stat| stat.topic.as_str() > "t.89"),
        "{kept:?}"
    );
    let mut client = Client::new(&shards[0]);
    let before_all = weir_core::broadcast::Position { offset: 0, ..at };
    client.subscribe("old", Since::Position(before_all), 100);
    client.drain(100).unwrap();
    assert_eq!((client.missing.len(), client.missing[0].to), (1, 1));
}

#[test]
fn when_outboxes_hold_too_much_the_fullest_are_emptied() {
    let limits = Limits {
        retained_bytes_max: 100_000,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(&shards[0])).collect();
    clients[0].subscribe("small", Since::Now, 0);
    clients[1].subscribe("large", Since::Now, 0);
    publish(&topics, "small", Class::Stream, 10, 0);
    for n in 0..40 {
        publish(&topics, "large", Class::Stream, 9_000, n);
        work(&shards[0], n);
    }
    work(&shards[0], 2_000);
    assert!(
        topics.account().bytes() <= 110_000,
        "{}",
        topics.account().bytes()
    );
    assert_eq!(topics.counters(0).unwrap().get(Count::ShedMemory), 1);
    clients[0].drain(2_000).unwrap();
    assert_eq!(
        (clients[0].offsets("small"), clients[0].missing.len()),
        (vec![1], 0)
    );
}

#[test]
fn refusals_name_what_is_too_much() {
    let limits = Limits {
        message_bytes_max: 1_000,
        topics_max: 130,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let client = Client::new(&shards[0]);
    let refused = |change: fn(&mut weir_broadcast::Draft)| {
        let mut message = draft("a", Class::Stream, "", 10);
        change(&mut message);
        topics.publish(message, UnixMs(0)).unwrap_err().to_string()
    };
    let long = refused(|message| message.data = Bytes::from(vec![0; 1_001]));
    assert_eq!(long, "data has 1001 bytes, more than 1000");
    let key = refused(|message| message.idempotency_key = Some("x".repeat(129).into()));
    assert_eq!(key, "idempotency_key has 129 bytes, more than 128");
    assert_eq!(
        refused(|message| message.key = "x".into()),
        "key does not go with class stream"
    );
    let text = refused(|message| {
        (message.content, message.data) = (Content::Text, Bytes::from_static(&[0xff]))
    });
    assert_eq!(text, "data is not UTF-8");
    let json = refused(|message| {
        (message.content, message.data) = (Content::Json, Bytes::from_static(b"{} x"))
    });
    assert_eq!(json, "data is not one JSON value in UTF-8");
    for n in 0..128 {
        client
            .connection
            .subscribe(&topic(&format!("t.{n}")), Since::Now, UnixMs(0))
            .unwrap();
    }
    let again = client
        .connection
        .subscribe(&topic("t.0"), Since::Now, UnixMs(0));
    assert!(again.is_ok(), "one that is there is not one more");
    let more = client
        .connection
        .subscribe(&topic("t.128"), Since::Now, UnixMs(0))
        .unwrap_err();
    assert_eq!(
        more.to_string(),
        "topics of the connection would be 129, more than 128"
    );
    let publish = |name| topics.publish(draft(name, Class::Stream, "", 1), UnixMs(0));
    assert!(publish("u.1").is_ok() && publish("u.2").is_ok());
    assert_eq!(
        publish("u.3").unwrap_err().to_string(),
        "topics of the node would be 131, more than 130"
    );
    for n in 0..16 {
        client
            .connection
            .subscribe_pattern(&Pattern::new(&format!("p{n}.*")).unwrap())
            .unwrap();
    }
    let more = client
        .connection
        .subscribe_pattern(&Pattern::new("p.*").unwrap())
        .unwrap_err();
    assert_eq!(
        more.to_string(),
        "patterns of the connection would be 17, more than 16"
    );
}

#[test]
fn whose_patterns_take_too_many_topics_is_cut() {
    let limits = Limits {
        connection_matches_max: 10,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let mut client = Client::new(&shards[0]);
    client.subscribe_pattern("t.*");
    for n in 0..11 {
        publish(&topics, &format!("t.{n}"), Class::Stream, 10, 0);
    }
    work(&shards[0], 0);
    assert_eq!(client.take(0), Err(CutReason::TooManyTopics));
}

#[test]
fn a_topic_that_a_full_connection_does_not_get_is_given_back() {
    let limits = Limits {
        connection_matches_max: 1,
        ..Limits::default()
    };
    let (topics, shards) = node(limits, 1);
    let client = Client::new(&shards[0]);
    let subscribe = |name: &str| {
        let connection = &client.connection;
        connection.subscribe(&topic(name), Since::Now, UnixMs(0))
    };
    subscribe("a").unwrap();
    let refused = subscribe("b").unwrap_err().to_string();
    assert_eq!(
        refused,
        "topics of the connection and its patterns would be 2, more than 1"
    );
    topics.sweep(UnixMs(61_000));
    assert!(topics.stat(&topic("a")).is_some() && topics.stat(&topic("b")).is_none());
}
