//! What goes over the wire.

use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use weir_broadcast::{Control, Encoding, SLICES_MAX, Since, Writing};
use weir_core::broadcast::{Class, Content, Limits};
use weir_core::cache::UnixMs;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What;

use crate::client::{draft, node, topic, work};

/// What connections of each form get of the same messages.
fn frames(encodings: &[Encoding]) -> (String, Vec<Bytes>) {
    let (topics, shards) = node(Limits::default(), 1);
    let connect = |encoding: &Encoding| shards[0].connect("test", *encoding);
    let connections: Vec<_> = encodings.iter().map(connect).collect();
    for connection in &connections {
        connection
            .subscribe(&topic("a.b"), Since::Now, UnixMs(0))
            .unwrap();
    }
    let mut epoch = String::new();
    for (class, content, data) in [
        (Class::Critical, Content::Text, "first"),
        (Class::Stream, Content::Json, "{\"n\":\n[1, \"two\\n\"]}"),
        (Class::Stream, Content::Text, "a \"line\"\nand more"),
        (Class::Latest, Content::Binary, "\u{0}\u{1}"),
    ] {
        let mut message = draft("a.b", class, "", 0);
        (message.content, message.data) = (content, Bytes::from_static(data.as_bytes()));
        if class == Class::Latest {
            message.key = "k".into();
        }
        epoch = topics
            .publish(message, UnixMs(1_000))
            .unwrap()
            .position
            .epoch
            .to_string();
    }
    work(&shards[0], 1_000);
    work(&shards[0], 1_100);
    assert_eq!(
        topics
            .counters(0)
            .unwrap()
            .get(weir_broadcast::Count::Batches),
        2
    );
    // Twice of JSON (frame and event) and once of protobuf, of each batch; and of each message one of both.
    assert_eq!(topics.account().messages_encoded(), 8);
    assert_eq!(topics.account().batches_encoded(), 6);
    let take = |connection: &weir_broadcast::Connection| {
        let mut writing = Writing::new();
        connection.take(&mut writing, || UnixMs(1_100)).unwrap();
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = writing.slices(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    };
    (epoch, connections.iter().map(take).collect())
}

#[test]
fn one_batch_has_each_form_made_once_and_all_say_the_same() {
    use Encoding::{Grpc, Json, Sse, WebSocketJson, WebSocketProto};
    let (epoch, frames) = frames(&[
        Json,
        WebSocketJson,
        Sse,
        Grpc,
        WebSocketProto,
        Json,
        WebSocketJson,
    ]);
    let first = format!(
        "{{\"batch\":{{\"topic\":\"a.b\",\"epoch\":\"{epoch}\",\"after\":0,\"messages\":[\
         {{\"offset\":1,\"class\":\"critical\",\"published_unix_ms\":1000,\"text\":\"first\"}}]}}}}"
    );
    let second = format!(
        "{{\"batch\":{{\"topic\":\"a.b\",\"epoch\":\"{epoch}\",\"after\":1,\"messages\":[\
         {{\"offset\":2,\"published_unix_ms\":1000,\"data\":{{\"n\": [1, \"two\\n\"]}}}},\
         {{\"offset\":3,\"published_unix_ms\":1000,\"text\":\"a \\\"line\\\"\\nand more\"}},\
         {{\"offset\":4,\"class\":\"latest\",\"key\":\"k\",\"published_unix_ms\":1000,\"base64\":\"AAE=\"}}]}}}}"
    );
    assert_eq!(frames[0], format!("{first}{second}"));
    let framed = |json: &str| {
        let length = u16::try_from(json.len()).unwrap().to_be_bytes();
        [&[0x81, 126, length[0], length[1]], json.as_bytes()].concat()
    };
    assert_eq!(frames[1], [framed(&first), framed(&second)].concat());
    assert_eq!(
        frames[2],
        format!("id: a.b@{epoch}-1\ndata: {first}\n\nid: a.b@{epoch}-4\ndata: {second}\n\n")
    );
    assert_eq!((&frames[5], &frames[6]), (&frames[0], &frames[1]));
    for text in [&first, &second] {
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
    }
    // Two deliveries in a row decode as one that has the messages of both.
    let delivery = pb::Delivery::decode(frames[3].clone()).unwrap();
    let Some(What::Batch(batch)) = delivery.what else {
        panic!("no batch");
    };
    let offsets: Vec<_> = batch
        .messages
        .iter()
        .map(|message| message.offset)
        .collect();
    assert_eq!((&*batch.topic, offsets), ("a.b", vec![1, 2, 3, 4]));
    assert_eq!(&batch.messages[3].data[..], [0, 1]);
    assert_eq!(frames[4][0], 0x82);
}

#[test]
fn what_is_told_beside_messages_is_told_in_every_form() {
    let reconnect = Control::Reconnect {
        after: Duration::from_millis(1_500),
        alternative: "node-2:9000".into(),
    };
    let json = "{\"reconnect\":{\"after_ms\":1500,\"alternative\":\"node-2:9000\"}}";
    assert_eq!(reconnect.encode(Encoding::Json), json);
    let event = format!("retry: 1500\nevent: reconnect\ndata: {json}\n\n");
    assert_eq!(reconnect.encode(Encoding::Sse), event);
    assert_eq!(
        reconnect.encode(Encoding::WebSocketJson),
        [&[0x81, json.len() as u8], json.as_bytes()].concat()
    );
    let delivery = pb::Delivery::decode(reconnect.encode(Encoding::Grpc)).unwrap();
    let Some(What::Reconnect(wire)) = delivery.what else {
        panic!("no reconnect");
    };
    assert_eq!((wire.after_ms, &*wire.alternative), (1_500, "node-2:9000"));
    assert_eq!(Control::Ping.encode(Encoding::Sse), ":\n\n");
    assert_eq!(Control::Ping.encode(Encoding::Json), "{\"ping\":{}}");
}

#[test]
fn answers_are_told_in_every_form() {
    let position = weir_core::broadcast::Position {
        epoch: weir_core::broadcast::Epoch(0x9f),
        offset: 7,
    };
    let published = Control::Published {
        id: 2,
        topic: topic("a.b"),
        position,
        duplicate: true,
        replicated: false,
    };
    assert_eq!(
        published.encode(Encoding::Json),
        "{\"published\":{\"id\":2,\"topic\":\"a.b\",\"epoch\":\"9f\",\"offset\":7,\
         \"duplicate\":true,\"replicated\":false}}"
    );
    let subscribed = Control::Subscribed {
        id: 1,
        topics: vec![(topic("a.b"), position), (topic("c"), position)],
    };
    assert_eq!(
        subscribed.encode(Encoding::Json),
        "{\"subscribed\":{\"id\":1,\"topics\":[{\"topic\":\"a.b\",\"epoch\":\"9f\",\"offset\":7},\
         {\"topic\":\"c\",\"epoch\":\"9f\",\"offset\":7}]}}"
    );
    let error = Control::Error {
        id: 3,
        field: "topic".into(),
        message: "a \"quote\"".into(),
    };
    let json = "{\"error\":{\"id\":3,\"field\":\"topic\",\"message\":\"a \\\"quote\\\"\"}}";
    assert_eq!(error.encode(Encoding::Json), json);
    let event = format!("event: error\ndata: {json}\n\n");
    assert_eq!(error.encode(Encoding::Sse), event);
    let present = Control::Present {
        id: 4,
        topic: topic("c"),
        members: vec!["ann".into()],
        count: 2,
    };
    let json = "{\"present\":{\"id\":4,\"topic\":\"c\",\"count\":2,\"members\":[\"ann\"]}}";
    assert_eq!(present.encode(Encoding::Json), json);
    for control in [published, subscribed, error, present] {
        let delivery = pb::Delivery::decode(control.encode(Encoding::Grpc)).unwrap();
        let sound = match delivery.what {
            Some(What::Published(told)) => told.position.is_some() && told.duplicate,
            Some(What::Subscribed(told)) => told.topics.len() == 2,
            Some(What::Error(told)) => told.id == 3,
            Some(What::Present(told)) => told.members == ["ann"],
            _ => false,
        };
        assert!(sound, "{control:?}");
    }
}
