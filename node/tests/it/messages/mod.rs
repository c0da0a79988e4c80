//! Messages to everyone, by the commands and by gRPC.

use serde_json::Value;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;
use weir_proto::node::v1::delivery::What;

use crate::common::{PATIENCE, Weir, web};
use crate::operator::wait_until;

async fn node(keys: &str) -> Weir {
    let config = format!("[broadcaster]\n{keys}\n{}", web(&[], ""));
    Weir::start(&config).await
}

async fn client(weir: &Weir) -> BroadcastClient<Channel> {
    BroadcastClient::connect(format!("http://{}", weir.grpc))
        .await
        .unwrap()
}

/// Waits until so many subscribers are there.
async fn has_subscribers(weir: &Weir, count: usize) {
    wait_until(weir, "they are subscribed", async || {
        let (code, text) = weir.command(&["connections", "-o", "json"]).await;
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        code == 0
            && list["connections"]
                .as_array()
                .is_some_and(|all| all.len() == count)
    })
    .await;
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_one_publishes_another_sees_in_order_and_may_read_again() {
    let weir = node("").await;
    let subscribe = [
        "subscribe",
        "engines.*",
        "plain",
        "--count",
        "3",
        "-o",
        "json",
    ];
    let publish = async {
        has_subscribers(&weir, 1).await;
        for (topic, data) in [
            ("engines.up", "{\"id\":1}"),
            ("engines.up", "two"),
            ("plain", "3"),
        ] {
            let (code, said) = weir.command(&["publish", topic, data]).await;
            assert_eq!(code, 0, "{said}");
            assert!(said.starts_with("published at "), "{said}");
        }
        let (_, other) = weir.command(&["publish", "not.wanted", "x"]).await;
        assert!(other.ends_with("-1\n"), "{other}");
    };
    let (seen, ()) = tokio::join!(weir.command(&subscribe), publish);
    assert_eq!(seen.0, 0, "{}", seen.1);
    let seen = lines(&seen.1);
    let told: Vec<_> = seen
        .iter()
        .map(|one| (&one["topic"], &one["data"], &one["text"]))
        .collect();
    let (up, plain) = (Value::from("engines.up"), Value::from("plain"));
    let (id, two, three) = (
        serde_json::json!({"id": 1}),
        Value::from("two"),
        Value::from(3),
    );
    assert_eq!(
        told,
        [
            (&up, &id, &Value::Null),
            (&up, &Value::Null, &two),
            (&plain, &three, &Value::Null)
        ]
    );
    // Whoever was there goes on from where it was.
    let position = seen[0]["position"].as_str().unwrap();
    let again = [
        "subscribe",
        "engines.up",
        "--since",
        position,
        "--count",
        "1",
    ];
    let (code, text) = weir.command(&again).await;
    assert!(code == 0 && text.ends_with("two\n"), "{text}");
}

#[tokio::test]
async fn a_message_that_is_published_twice_with_one_key_is_one_and_a_bad_one_is_refused_by_field() {
    let weir = node("message_bytes_max = \"1KiB\"").await;
    let publish = ["publish", "a", "1", "--idempotency-key", "k"];
    let (_, first) = weir.command(&publish).await;
    let (_, second) = weir.command(&publish).await;
    let first = first.trim_end();
    assert_eq!(second.trim_end(), format!("{first}, by an earlier call"));

    let long = "x".repeat(1025);
    for (arguments, why) in [
        (
            ["publish", "a..b", "1"],
            "topic \"a..b\" has an empty segment",
        ),
        (
            ["publish", "_weir.a", "1"],
            "topic \"_weir.a\" is one of the node's own",
        ),
        (
            ["publish", "a", &long],
            "data has 1025 bytes, more than 1024",
        ),
    ] {
        let (code, said) = weir.command(&arguments).await;
        assert!(code != 0 && said.contains(why), "{code} {said}");
    }
    let mut client = client(&weir).await;
    let request = pb::PublishRequest {
        topic: "a".to_owned(),
        class: 99,
        ..pb::PublishRequest::default()
    };
    let refused = client.publish(request).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "class: 99 is not known")
    );
}

#[tokio::test]
async fn an_operator_ends_a_subscriber_who_is_told_why() {
    let weir = node("").await;
    let mut client = client(&weir).await;
    let request = pb::SubscribeRequest {
        patterns: vec!["a.>".to_owned()],
        ..pb::SubscribeRequest::default()
    };
    let mut deliveries = client.subscribe(request).await.unwrap().into_inner();
    has_subscribers(&weir, 1).await;
    let (_, text) = weir.command(&["connections", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    let id = list["connections"][0]["id"].to_string();
    assert_eq!(weir.command(&["connections", "end", &id]).await.0, 0);
    let ended = timeout(PATIENCE, deliveries.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(ended.message(), "the node ends this subscription: operator");
    has_subscribers(&weir, 0).await;
    let (code, said) = weir.command(&["connections", "end", &id]).await;
    assert_eq!(
        (code, said.trim_end()),
        (4, &*format!("weir: no connection has the id {id}"))
    );
}

#[tokio::test]
async fn a_gap_is_told_before_what_is_kept_of_a_topic() {
    let weir = node("history_messages_max = 2").await;
    for n in 1..=5 {
        let (code, said) = weir.command(&["publish", "a", &n.to_string()]).await;
        assert_eq!(code, 0, "{said}");
    }
    let mut client = client(&weir).await;
    let (_, first) = weir
        .command(&["connections", "topics", "a", "-o", "json"])
        .await;
    let stats: Value = serde_json::from_str(&first).unwrap();
    let epoch = stats["topics"][0]["position"]["epoch"].as_u64().unwrap();
    let position = Some(pb::MessagePosition { epoch, offset: 1 });
    let history = pb::HistoryRequest {
        topic: "a".to_owned(),
        since: position,
        limit: 0,
    };
    let history = client.history(history).await.unwrap().into_inner();
    let gap = history.gap.unwrap();
    assert_eq!((gap.from, gap.to), (2, 3));
    let offsets: Vec<_> = history
        .batch
        .unwrap()
        .messages
        .iter()
        .map(|one| one.offset)
        .collect();
    assert_eq!((offsets, history.more), (vec![4, 5], false));

    let request = pb::SubscribeRequest {
        topics: vec![pb::TopicSubscription {
            topic: "a".to_owned(),
            since: position.map(pb::topic_subscription::Since::Position),
        }],
        ..pb::SubscribeRequest::default()
    };
    let mut deliveries = client.subscribe(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 2 {
        let delivery = timeout(PATIENCE, deliveries.message())
            .await
            .unwrap()
            .unwrap();
        match delivery.unwrap().what.unwrap() {
            What::Gap(gap) => told.push((gap.from, gap.to)),
            What::Batch(batch) => told.push((batch.after, batch.messages.last().unwrap().offset)),
            _ => {}
        }
    }
    assert_eq!(told, [(2, 3), (3, 5)]);
}
