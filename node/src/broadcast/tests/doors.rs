use http::StatusCode;
use weir_broadcast::Encoding;
use weir_core::broadcast::{Pattern, TopicName};

use super::super::opening::Opening;
use super::super::rights::{Face, Rights};
use super::{parsed, with_node};

fn topic(name: &str) -> TopicName {
    TopicName::any(name).unwrap()
}

/// A node with two tokens; the folder that holds them.
fn tokens(anonymous: &str, subscribe: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[broadcaster]\nanonymous = \"{anonymous}\"\n");
    let token = |name: &str, secret: &str, grants: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).unwrap();
        format!(
            "[broadcaster.tokens.{name}]\ntoken = \"file:{}\"\n{grants}\n",
            path.display()
        )
    };
    let grants = format!("publish = [\"jobs.>\"]\nsubscribe = [{subscribe}]");
    let worker = token("worker", "s3cret", &grants);
    let screen = token("screen", "other", "subscribe = [\"chat\"]");
    (folder, format!("{config}{worker}{screen}"))
}

#[test]
fn a_token_gives_what_it_grants_and_its_secret_is_never_shown() {
    let (_folder, config) = tokens("nothing", "\"jobs.*\", \"_weir.>\"");
    let rights = Rights::read(&parsed(&config).broadcaster);
    assert!(!format!("{rights:?}").contains("s3cret"));
    let worker = rights.who(Face::Route, Some("s3cret"), None).unwrap();
    assert_eq!(&*worker.name, "worker");
    assert!(worker.may_publish(&topic("jobs.a.b")).is_ok());
    assert!(worker.may_publish(&topic("chat")).is_err());
    assert!(worker.may_subscribe(&topic("jobs.a")).is_ok());
    assert!(worker.may_subscribe(&topic("jobs.a.b")).is_err());
    assert!(worker.may_subscribe(&topic("_weir.engine")).is_ok());
    let pattern = |text| Pattern::new(text).unwrap();
    assert!(worker.may_subscribe_pattern(&pattern("jobs.*")).is_ok());
    let refused = worker
        .may_subscribe_pattern(&pattern("jobs.>"))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "pattern: `worker` may not subscribe to `jobs.>`"
    );
    for wrong in ["", "s3cre", "s3cret ", "other2"] {
        assert!(rights.who(Face::Api, Some(wrong), None).is_err(), "{wrong}");
    }
    assert!(rights.who(Face::Route, None, None).is_err());
    let operator = rights.who(Face::Api, None, None).unwrap();
    assert!(operator.may_subscribe(&topic("_weir.engine")).is_ok());
}

#[test]
fn who_shows_no_token_may_do_what_is_configured_and_takes_no_name_of_a_token() {
    let (_folder, config) = tokens("subscribe", "");
    let rights = Rights::read(&parsed(&config).broadcaster);
    let anonymous = rights.who(Face::Route, None, None).unwrap();
    assert!(anonymous.may_subscribe(&topic("chat")).is_ok());
    assert!(anonymous.may_subscribe(&topic("_weir.engine")).is_err());
    let own = Pattern::new("_weir.>").unwrap();
    assert!(anonymous.may_subscribe_pattern(&own).is_err());
    assert!(anonymous.may_publish(&topic("chat")).is_err());
    for taken in ["worker", "worker:1"] {
        let refused = rights.who(Face::Route, None, Some(&taken.into()));
        assert!(refused.is_err(), "{taken}");
    }
    let named = rights.who(Face::Route, Some("s3cret"), Some(&"1".into()));
    assert_eq!(&*named.unwrap().name, "worker:1");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_come_in_is_told_why_before_anything_begins() {
    let (_folder, config) = tokens("nothing", "\"chat\"");
    with_node(&config, async |node| {
        for (query, status, why) in [
            ("topic=chat", StatusCode::UNAUTHORIZED, "token: is required"),
            ("topic=chat&token=x", StatusCode::UNAUTHORIZED, "nobody's"),
            ("topic=other&token=s3cret", StatusCode::FORBIDDEN, "`other`"),
            (
                "topic=a%20b&token=s3cret",
                StatusCode::BAD_REQUEST,
                "topic: ",
            ),
            ("color=red", StatusCode::BAD_REQUEST, "color: is none of"),
            (
                "wait=90s",
                StatusCode::BAD_REQUEST,
                "wait: 90s is more than 60 s",
            ),
            (
                "limit=0",
                StatusCode::BAD_REQUEST,
                "limit: `0` is not from 1",
            ),
            ("name=a%0ab", StatusCode::BAD_REQUEST, "name: "),
            ("name=me", StatusCode::BAD_REQUEST, "topic: or `pattern`"),
        ] {
            let refused = node.open(&node.coming(query), Encoding::Sse).await;
            let turned = refused.unwrap_err();
            assert_eq!(turned.status(), status, "{query}: {turned}");
            assert!(turned.to_string().contains(why), "{query}: {turned}");
        }
        let coming = node.coming("topic=chat&token=s3cret");
        assert!(node.open(&coming, Encoding::Sse).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn places_and_beginnings_are_bounded_and_given_back() {
    let config =
        "[broadcaster]\nanonymous = \"all\"\nconnections_max = 2\nhandshakes_per_second_max = 4\n";
    with_node(config, async |node| {
        let coming = node.coming("topic=a");
        let one = node.open(&coming, Encoding::Sse).await.unwrap();
        let two = node.open(&coming, Encoding::Sse).await.unwrap();
        let full = node.open(&coming, Encoding::Sse).await.unwrap_err();
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(full.to_string().contains("3, more than 2"), "{full}");
        drop((one, two));
        let _again = node.open(&coming, Encoding::Sse).await.unwrap();
        let often = node.open(&coming, Encoding::Sse).await.unwrap_err();
        assert_eq!(often.status(), StatusCode::TOO_MANY_REQUESTS);
        let mut other = coming;
        other.peer = "10.0.0.2:1".parse().unwrap();
        assert!(node.open(&other, Encoding::Sse).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_publishes_too_often_is_refused_and_others_are_not() {
    let config = "[broadcaster]\nanonymous = \"all\"\npublish_per_second_max = 2\n";
    with_node(config, async |node| {
        let from = ["10.0.0.3", "10.0.0.4"].map(|address| address.parse().unwrap());
        let publish = |from| node.broadcast.may_publish_now(None, from);
        assert!(publish(from[0]).is_ok() && publish(from[0]).is_ok());
        let often = crate::broadcast::Turned::TooOften(publish(from[0]).unwrap_err());
        assert_eq!(often.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(
            often.to_string().contains("publish_per_second_max"),
            "{often}"
        );
        assert!(publish(from[1]).is_ok());
        let mut client = node.socket("topic=chat").await;
        client.text().await;
        for id in 1..=3 {
            let ask = format!(r#"{{"publish":{{"topic":"chat","text":"{id}","id":{id}}}}}"#);
            client.ask(&ask).await;
        }
        let refused = loop {
            let told = client.text().await;
            if told.contains("publish_per_second_max") {
                break told;
            }
        };
        assert!(refused.contains(r#""id":3"#), "{refused}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_right_loses_what_it_has() {
    let (_folder, config) = tokens("nothing", "\"chat\"");
    with_node(&config, async |node| {
        let mut worker = node.socket("topic=chat&token=s3cret").await;
        let mut screen = node.socket("topic=chat&token=other").await;
        worker.text().await;
        screen.text().await;
        let (_other, without) = tokens("nothing", "\"jobs.a\"");
        node.broadcast.configure(&parsed(&without).broadcaster);
        assert_eq!(worker.closed().await, (4003, "unauthorized".to_owned()));
        node.publish("chat", "for whom may").await;
        assert_eq!(screen.texts_until("for whom may").await.len(), 1);
    })
    .await;
}

#[test]
fn an_address_says_from_where() {
    let opening = Opening::of("topic=a&topic=b&since=a@9-3,b@9-4&pattern=c.*", None).unwrap();
    let positions: Vec<_> = opening.topics.iter().map(|(_, since)| *since).collect();
    assert_eq!(format!("{positions:?}").matches("Position").count() / 2, 2);
    // What a browser was told last is newer, and topics of patterns go on where they were.
    let back = Opening::of("topic=a&since=a@9-3&pattern=c.*", Some("a@9-7,c.x@9-1")).unwrap();
    let told = format!("{:?}", back.topics);
    assert!(told.contains("offset: 7"), "{told}");
    let matched = format!("{:?}", back.matched);
    assert!(
        matched.contains("c.x") && matched.contains("offset: 1"),
        "{matched}"
    );
}
