//! The command line.

use serde_json::Value;

use super::{engines, ready, seen};
use crate::common::Weir;

#[tokio::test]
async fn an_operator_lists_reads_adds_and_stops_engines() {
    let weir = Weir::start(&engines(1, 3)).await;
    let first = ready(&weir, 1).await.remove(0);
    let (code, text) = weir.command(&["engines", "-o", "json"]).await;
    assert_eq!(code, 0, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    let expected = (&*first.id, "web", "ready", &*first.address);
    let text_of = |key: &str| list[0][key].as_str().unwrap().to_owned();
    let shown = ["id", "service", "state", "address"].map(text_of);
    assert_eq!((&*shown[0], &*shown[1], &*shown[2], &*shown[3]), expected);
    assert!(list[0]["pid"].as_u64().unwrap() > 1, "{list}");
    assert_eq!(list[0]["restarts"], 0, "{list}");

    // The first line of a demo backend is where it listens.
    let (code, text) = weir.command(&["engines", "logs", &first.id]).await;
    assert_eq!((code, text.trim()), (0, &*first.address));

    let add = ["engines", "provision", "web", "--wait", "--timeout", "15s"];
    let (code, text) = weir.command(&add).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\nready: web-"), "{text}");
    let two = ready(&weir, 2).await;
    let (_, text) = weir.command(&["engines", "list", "--node-only"]).await;
    assert!(two.iter().all(|engine| text.contains(&engine.id)), "{text}");
    assert!(weir.get("/").await.contains("hello from web-"));

    let (code, text) = weir.command(&["engines", "stop", &first.id]).await;
    assert_eq!((code, text.trim()), (0, &*format!("{} stops", first.id)));
    let left = ready(&weir, 1).await.remove(0);
    assert_ne!(left.id, first.id, "one is enough");
}

#[tokio::test]
async fn an_engine_that_is_stopped_is_replaced_while_the_service_needs_it() {
    let weir = Weir::start(&engines(1, 3)).await;
    let first = ready(&weir, 1).await.remove(0);
    let (code, text) = weir.command(&["engines", "stop", &first.id, "--now"]).await;
    assert_eq!(code, 0, "{text}");
    seen(&weir, false, "another one is ready", |list| {
        list.engines.len() == 1
            && list.engines[0].state == "ready"
            && list.engines[0].pid != first.pid
    })
    .await;
    assert!(weir.get("/").await.contains("hello from web-"));
}

#[tokio::test]
async fn a_command_that_cannot_be_obeyed_says_what_stands_in_the_way() {
    let weir = Weir::start(&engines(1, 1)).await;
    ready(&weir, 1).await;
    for (arguments, code, what) in [
        (
            &["engines", "provision", "web"][..],
            1,
            "max_capacity: service `web` has 1 engines and 0 on the way, and may have 1",
        ),
        (
            &["engines", "provision", "tv"],
            4,
            "unknown_service: service `tv` has no engines",
        ),
        (
            &["engines", "provision", "web", "--key", "a/b"],
            2,
            "invalid_key: key: `a/b` is out of bounds (allowed: 1 to 200 bytes",
        ),
        (
            &["engines", "stop", "tv-1"],
            4,
            "no node runs an engine `tv-1`",
        ),
        (
            &["engines", "logs", "tv-1"],
            4,
            "no node runs an engine `tv-1`",
        ),
        (&["ports", "get", "nl"], 4, "no VPN is called `nl`"),
        (&["ports", "invalidate", "nl"], 4, "no VPN is called `nl`"),
    ] {
        let (ended, text) = weir.command(arguments).await;
        assert_eq!(ended, code, "{arguments:?}: {text}");
        assert!(text.contains(what), "{arguments:?}: {text}");
    }
}
