use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use weir_broadcast::Encoding;
use weir_core::broadcast::CutReason;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What;

use super::{SYSTEM_BYTES, with_node};
use crate::data_plane::stop::Stopper;

const OPEN: &str = "[broadcaster]\nanonymous = \"all\"\n";

#[tokio::test(start_paused = true)]
async fn two_sockets_talk_through_a_topic_and_each_ask_is_answered_by_its_number() {
    with_node(OPEN, async |node| {
        let mut one = node.socket("name=ann").await;
        let mut other = node.socket("topic=chat&name=bob").await;
        assert!(other.text().await.starts_with("{\"subscribed\":{\"id\":0,"));
        one.ask(r#"{"subscribe":{"topics":["chat"],"patterns":["log.*"],"id":1}}"#)
            .await;
        let subscribed = one.text().await;
        assert!(
            subscribed.starts_with(r#"{"subscribed":{"id":1,"topics":[{"topic":"chat","#),
            "{subscribed}"
        );
        one.ask(r#"{"publish":{"topic":"chat","data":{"n": 12345678901234567890.0},"id":2}}"#)
            .await;
        let mut told = [one.text().await, one.text().await];
        told.sort();
        assert!(told[0].starts_with(r#"{"batch":"#), "{told:?}");
        assert!(told[1].starts_with(r#"{"published":{"id":2,"topic":"chat","#));
        let batch = other.text().await;
        assert!(
            batch.contains(r#""data":{"n": 12345678901234567890.0}"#),
            "{batch}"
        );
        one.ask(r#"{"presence":{"topic":"chat","id":3}}"#).await;
        assert_eq!(
            one.text().await,
            r#"{"present":{"id":3,"topic":"chat","count":2,"members":["ann","bob"]}}"#
        );
        one.ask(r#"{"unsubscribe":{"topics":["chat"],"id":4}}"#)
            .await;
        assert_eq!(one.text().await, r#"{"unsubscribed":{"id":4}}"#);
        node.publish("log.a", "from a pattern").await;
        assert!(one.text().await.contains("from a pattern"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_is_told_by_number_and_field_and_nothing_ends() {
    with_node(OPEN, async |node| {
        let mut client = node.socket("").await;
        for (ask, field) in [
            (r#"{"subscribe":{"topics":["a b"],"id":7}}"#, "topic"),
            (r#"{"subscribe":{"patterns":["a"],"id":7}}"#, "pattern"),
            (
                r#"{"subscribe":{"topics":["_weir.engine"],"id":7}}"#,
                "topic",
            ),
            (
                r#"{"subscribe":{"topics":[{"topic":"a","since":"x"}],"id":7}}"#,
                "since",
            ),
            (r#"{"publish":{"topic":"a","id":7}}"#, "data"),
            (
                r#"{"publish":{"topic":"a","text":"","base64":"","id":7}}"#,
                "data",
            ),
            (r#"{"publish":{"topic":"a","base64":"?","id":7}}"#, "base64"),
            (
                r#"{"publish":{"topic":"a","text":"","class":"x","id":7}}"#,
                "class",
            ),
            (
                r#"{"publish":{"topic":"a","text":"","ack":"x","id":7}}"#,
                "ack",
            ),
            (
                r#"{"publish":{"topic":"_weir.a","text":"","id":7}}"#,
                "topic",
            ),
            (
                r#"{"publish":{"topic":"a","text":"","key":"k","id":7}}"#,
                "publish",
            ),
            (r#"{"shout":{"id":7}}"#, "message"),
        ] {
            client.ask(ask).await;
            let told = client.text().await;
            let expected = format!("{{\"error\":{{\"id\":7,\"field\":\"{field}\",");
            assert!(told.starts_with(&expected), "{ask}: {told}");
        }
        client.ask("no JSON").await;
        assert!(client.text().await.contains("\"field\":\"message\""));
        client.ask(r#"{"subscribe":{"topics":["a"],"id":8}}"#).await;
        assert!(
            client
                .text()
                .await
                .starts_with("{\"subscribed\":{\"id\":8,")
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_a_rule_is_told_which_and_others_go_on() {
    with_node(OPEN, async |node| {
        let mut bystander = node.socket("topic=a").await;
        bystander.text().await;
        for (bytes, code, why) in [
            (&b"\xc1\x80\0\0\0\0"[..], 1002, "reserved bit"),
            (b"\x83\x80\0\0\0\0", 1002, "opcode 3"),
            (b"\x81\x01a", 1002, "masked"),
            (b"\x80\x80\0\0\0\0", 1002, "continuation"),
            (b"\x09\x80\0\0\0\0", 1002, "fragmented"),
            (b"\x89\xfe\x00\x7e", 1002, "125"),
            (b"\x81\x81\0\0\0\0\xff", 1007, "UTF-8"),
            (b"\x81\xff\0\0\0\0\x7f\0\0\0", 1009, "more than"),
            (b"\x82\x81\0\0\0\0a", 1003, "weir.v1.json"),
            (b"\x88\x81\0\0\0\0a", 1002, "half a code"),
            (b"\x88\x82\0\0\0\0\x03\xed", 1002, "1005"),
        ] {
            let mut client = node.socket("topic=a").await;
            client.stream.write_all(bytes).await.unwrap();
            let (found, reason) = client.closed().await;
            assert_eq!(found, code, "{bytes:x?}: {reason}");
            assert!(reason.contains(why), "{bytes:x?}: {reason}");
        }
        node.publish("a", "still here").await;
        assert_eq!(bystander.texts_until("still here").await.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_with_its_code() {
    with_node(OPEN, async |node| {
        let mut client = node.socket("").await;
        client.send(0x88, b"\x0f\xa1bye").await;
        assert_eq!(client.closed().await, (4001, String::new()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_together_and_a_flood_of_them_ends() {
    with_node(OPEN, async |node| {
        let mut client = node.socket("").await;
        client.send(0x89, b"Hello").await;
        assert_eq!(client.frame().await, Some((0x8a, b"Hello".to_vec())));
        for _ in 0..64 {
            client.send(0x8a, b"").await;
        }
        let (code, reason) = client.closed().await;
        assert_eq!((code, reason.as_str()), (1008, "too many pings and pongs"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_pinged_and_then_given_up() {
    let keys = "[ingress]\nwebsocket_ping_interval = \"20s\"\nwebsocket_idle_timeout = \"50s\"\n";
    with_node(&format!("{OPEN}{keys}"), async |node| {
        let mut lively = node.socket("").await;
        let mut dead = node.socket("").await;
        let began = Instant::now();
        assert_eq!(dead.frame().await, Some((0x89, Vec::new())));
        assert_eq!(began.elapsed().as_secs(), 20);
        assert_eq!(lively.frame().await, Some((0x89, Vec::new())));
        lively.send(0x8a, b"").await;
        assert_eq!(dead.frame().await, Some((0x89, Vec::new())));
        assert_eq!(dead.closed().await, (4008, "silent".to_owned()));
        assert_eq!(began.elapsed().as_secs(), 50);
        assert_eq!(node.shard.connections(node.broadcast.now()).len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_never_reads_is_cut_with_its_reason_and_others_get_everything() {
    with_node(OPEN, async |node| {
        let mut deaf = node.socket("topic=a").await;
        let mut other = node.socket("topic=a").await;
        let reading = async {
            let texts = other.texts_until("last").await;
            assert_eq!(texts.len(), 46);
        };
        let publishing = async {
            for _ in 0..45 {
                node.publish("a", &"x".repeat(1_000)).await;
                sleep(Duration::from_millis(300)).await;
            }
            node.publish("a", "last").await;
        };
        tokio::join!(reading, publishing);
        let counters = node.broadcast.topics().counters(0).unwrap();
        assert_eq!(counters.cut(CutReason::Slow), 1);
        assert_eq!(node.shard.connections(node.broadcast.now()).len(), 1);
        // Whoever reads again in time reads why.
        assert_eq!(deaf.closed().await, (4000, "slow".to_owned()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_without_reading_is_not_listened_to_any_more() {
    with_node(OPEN, async |node| {
        let mut client = node.socket("").await;
        let asking = async {
            loop {
                client.ask("{\"no\":1}").await;
            }
        };
        let never_done = timeout(Duration::from_secs(5), asking).await;
        assert!(never_done.is_err());
        let waits = node.shard.connections(node.broadcast.now());
        assert_eq!(waits.len(), 1, "it is held up, not cut");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn protobuf_says_the_same() {
    with_node(OPEN, async |node| {
        let mut client = node.socket_with("", Encoding::WebSocketProto).await;
        let request = pb::SessionRequest {
            id: 5,
            subscribe: vec![pb::TopicSubscription {
                topic: "a".to_owned(),
                since: None,
            }],
            publish: Some(pb::PublishRequest {
                topic: "a".to_owned(),
                data: vec![1, 2].into(),
                ..pb::PublishRequest::default()
            }),
            ..pb::SessionRequest::default()
        };
        client.send(0x82, &request.encode_to_vec()).await;
        let mut seen = [false; 3];
        while seen != [true; 3] {
            let (first, payload) = client.frame().await.unwrap();
            assert_eq!(first, 0x82);
            match pb::Delivery::decode(&*payload).unwrap().what.unwrap() {
                What::Subscribed(told) => seen[0] = told.id == 5 && told.topics.len() == 1,
                What::Published(told) => seen[1] = told.id == 5,
                What::Batch(batch) => seen[2] = batch.messages[0].data[..] == [1, 2],
                other => panic!("{other:?}"),
            }
        }
        client.send(0x82, b"\xff").await;
        let (_, payload) = client.frame().await.unwrap();
        let told = pb::Delivery::decode(&*payload).unwrap().what.unwrap();
        assert!(matches!(told, What::Error(error) if &*error.field == "message"));
        client.ask("{}").await;
        assert_eq!(client.closed().await.0, 1003);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_tells_when_to_come_back_and_cuts_who_stays() {
    with_node(OPEN, async |node| {
        let (stopper, stop) = Stopper::new();
        let (broadcast, shard) = (node.broadcast.clone(), node.shard.clone());
        tokio::task::spawn_local(async move {
            broadcast.see_off(&shard, stop, || 4_000).await;
        });
        let mut client = node.socket("topic=a").await;
        client.text().await;
        stopper.drain(true);
        let told = client.text().await;
        assert_eq!(told, r#"{"reconnect":{"after_ms":4000,"alternative":""}}"#);
        stopper.drain(false);
        sleep(Duration::from_secs(25)).await;
        assert_eq!(
            node.shard.connections(node.broadcast.now()).len(),
            1,
            "called off"
        );
        let began = Instant::now();
        stopper.drain(true);
        assert_eq!(client.closed().await, (4004, "draining".to_owned()));
        assert_eq!(began.elapsed().as_secs(), 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_and_answers_that_a_client_takes_late_come_whole_and_in_order() {
    with_node(OPEN, async |node| {
        let mut client = node.socket("topic=chat").await;
        client.text().await;
        // More answers than what its system takes.
        let rounds = SYSTEM_BYTES / 64;
        for number in 0..rounds {
            client
                .ask(&format!("{{\"shout\":{{\"id\":{number}}}}}"))
                .await;
        }
        sleep(Duration::from_millis(1)).await;
        let mut read = vec![0; SYSTEM_BYTES];
        for (number, bytes) in read.chunks_mut(SYSTEM_BYTES / rounds).enumerate() {
            // The shard has its turn before the socket learns that there is room.
            node.publish("chat", &format!("said {number}")).await;
            client.stream.read_exact(bytes).await.unwrap();
            sleep(Duration::from_millis(200)).await;
        }
        let mut client = client.after(read);
        let (mut answers, mut texts) = (0, Vec::new());
        while answers < rounds || texts.len() < rounds {
            let json: serde_json::Value = serde_json::from_str(&client.text().await).unwrap();
            answers += usize::from(json.get("error").is_some());
            let messages = json["batch"]["messages"].as_array().into_iter().flatten();
            texts.extend(messages.map(|message| message["text"].as_str().unwrap().to_owned()));
        }
        let said: Vec<_> = (0..rounds).map(|number| format!("said {number}")).collect();
        assert_eq!((answers, texts), (rounds, said));
    })
    .await;
}
