use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_broadcast::Encoding;

use super::super::{poll, stream};
use super::{Node, with_node};

const OPEN: &str = "[broadcaster]\nanonymous = \"all\"\n";

/// An event stream; what a browser keeps of it.
struct Browser {
    frames: mpsc::Receiver<Bytes>,
    held: String,
    last_id: String,
}

impl Browser {
    async fn open(node: &Node, query: &str, last_id: &str) -> Self {
        let mut coming = node.coming(query);
        coming.last_event_id = Some(last_id.to_owned());
        let (session, opening) = node.open(&coming, Encoding::Sse).await.unwrap();
        let (sender, frames) = mpsc::channel(1);
        tokio::task::spawn_local(stream::events(session, opening, sender));
        Self {
            frames,
            held: String::new(),
            last_id: last_id.to_owned(),
        }
    }

    /// The next event: its name and its data.
    async fn event(&mut self) -> (String, String) {
        loop {
            if let Some((event, rest)) = self.held.split_once("\n\n") {
                let (mut name, mut data) = ("message", "");
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => id.clone_into(&mut self.last_id),
                        Some(("event", event)) => name = event,
                        Some(("data", text)) => data = text,
                        _ => {}
                    }
                }
                let told = (name.to_owned(), data.to_owned());
                self.held = rest.to_owned();
                if !told.1.is_empty() {
                    return told;
                }
                continue;
            }
            let bytes = self.frames.recv().await.expect("the stream goes on");
            self.held.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_comes_back_to_several_topics_with_what_it_was_told_last() {
    with_node(OPEN, async |node| {
        let query = "topic=a&topic=b&pattern=log.*";
        let mut browser = Browser::open(&node, query, "").await;
        assert_eq!(browser.event().await.0, "subscribed");
        node.publish("a", "a1").await;
        assert!(browser.event().await.1.contains("\"a1\""));
        node.publish("b", "b1").await;
        node.publish("log.x", "x1").await;
        browser.event().await;
        browser.event().await;
        let id = browser.last_id.clone();
        for name in ["a@", "b@", "log.x@"] {
            assert!(id.contains(name), "{id}");
        }
        drop(browser);
        for (topic, text) in [("a", "a2"), ("b", "b2"), ("log.x", "x2"), ("a", "a3")] {
            node.publish(topic, text).await;
        }
        let mut back = Browser::open(&node, query, &id).await;
        let mut missed = String::new();
        // Epochs are random, and may look like a text.
        let is_in = |text: &str, told: &str| told.contains(&format!("\"text\":\"{text}\""));
        while !["a2", "b2", "x2", "a3"]
            .iter()
            .all(|text| is_in(text, &missed))
        {
            let (name, data) = back.event().await;
            assert_ne!(name, "gap");
            missed.push_str(&data);
        }
        assert!(!is_in("a1", &missed) && !is_in("x1", &missed), "{missed}");
        assert_eq!(missed.matches("\"ok\":true").count(), 3, "{missed}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_comes_back_before_the_first_message_misses_none() {
    with_node(OPEN, async |node| {
        let mut browser = Browser::open(&node, "topic=a", "").await;
        browser.event().await;
        let id = browser.last_id.clone();
        drop(browser);
        node.publish("a", "meanwhile").await;
        let mut back = Browser::open(&node, "topic=a", &id).await;
        while !back.event().await.1.contains("meanwhile") {}
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_a_sign_of_life() {
    with_node(OPEN, async |node| {
        let mut browser = Browser::open(&node, "topic=a", "").await;
        browser.event().await;
        let began = Instant::now();
        assert_eq!(browser.frames.recv().await.unwrap(), ":\n\n");
        assert_eq!(began.elapsed().as_secs(), 15);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_cut_and_its_place_is_free() {
    with_node(OPEN, async |node| {
        let browser = Browser::open(&node, "topic=a", "").await;
        node.publish("a", "one").await;
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        assert!(node.shard.connections(node.broadcast.now()).is_empty());
        drop(browser);
    })
    .await;
}

async fn polled(node: &Node, query: &str) -> serde_json::Value {
    let coming = node.coming(query);
    let (session, opening) = node.open(&coming, Encoding::Sse).await.unwrap();
    let json = poll::answer(session, &opening).await.unwrap();
    serde_json::from_str(&json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn polls_follow_each_other_without_a_hole() {
    with_node(OPEN, async |node| {
        let began = Instant::now();
        let first = polled(&node, "topic=a&wait=2s").await;
        assert_eq!(began.elapsed().as_secs(), 2);
        assert_eq!(first["deliveries"].as_array().unwrap().len(), 0);
        let mut next = first["next"].as_str().unwrap().to_owned();
        for n in 0..35 {
            node.publish("a", &format!("m{n}")).await;
        }
        let mut texts = Vec::new();
        for _ in 0..40 {
            let query = format!("topic=a&limit=1&wait=1s&since={next}");
            let answer = polled(&node, &query).await;
            assert!(answer["deliveries"].as_array().unwrap().len() <= 1);
            for delivery in answer["deliveries"].as_array().unwrap() {
                let messages = delivery["batch"]["messages"].as_array().unwrap();
                let text =
                    |message: &serde_json::Value| message["text"].as_str().unwrap().to_owned();
                texts.extend(messages.iter().map(text));
            }
            next = answer["next"].as_str().unwrap().to_owned();
            if texts.len() == 35 {
                break;
            }
        }
        let expected: Vec<_> = (0..35).map(|n| format!("m{n}")).collect();
        assert_eq!(texts, expected);
        let all = polled(&node, "topic=a&since=all&wait=0s").await;
        assert_eq!(all["deliveries"].as_array().unwrap().len(), 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_told_to_a_poll() {
    let few = format!("{OPEN}history_messages_max = 2\n");
    with_node(&few, async |node| {
        let first = polled(&node, "topic=a&wait=0s").await;
        for n in 0..5 {
            node.publish("a", &format!("m{n}")).await;
        }
        let next = first["next"].as_str().unwrap();
        let answer = polled(&node, &format!("topic=a&since={next}")).await;
        assert_eq!(answer["deliveries"][0]["gap"]["to"], 3);
    })
    .await;
}
