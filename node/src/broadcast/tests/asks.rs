//! What one ask may hold.

use weir_broadcast::{Control, Encoding};

use super::*;
use crate::broadcast::ask::Ask;

#[tokio::test(start_paused = true)]
async fn an_ask_for_too_much_is_refused_before_anything_is_done_for_it() {
    with_node("[broadcaster]\nanonymous = \"all\"\n", async |node| {
        let coming = node.coming("topic=a");
        let (mut session, _) = node.open(&coming, Encoding::WebSocketJson).await.unwrap();
        let topics: Vec<_> = (0..129).map(|n| format!("\"t.{n}\"")).collect();
        let ask = format!(
            "{{\"subscribe\":{{\"topics\":[{}],\"id\":7}}}}",
            topics.join(",")
        );
        let answer = session.apply(Ask::from_json(&ask).unwrap());
        let Some(Control::Error { id, field, message }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(
            (id, &*field, &*message),
            (7, "topics", "129 at once, at most 128")
        );
        let presence = || Ask::from_json("{\"presence\":{\"topic\":\"a\"}}").unwrap();
        assert_eq!(session.apply(presence()), None);
        let second = session.apply(presence());
        assert!(matches!(&second, Some(Control::Error { field, .. }) if **field == *"presence"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_could_not_come_back_to_all_its_topics_is_told_at_once() {
    with_node("[broadcaster]\nanonymous = \"all\"\n", async |node| {
        let topics: Vec<_> = (0..100).map(|n| format!("topic={n:0>40}")).collect();
        let coming = node.coming(&topics.join("&"));
        assert!(node.open(&coming, Encoding::WebSocketJson).await.is_ok());
        let refused = node.open(&coming, Encoding::Sse).await.unwrap_err();
        assert!(refused.to_string().contains("at most 4096"), "{refused}");
    })
    .await;
}
