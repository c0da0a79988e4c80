//! Messages to everyone, through every way that a browser or a script comes in.

mod lost;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::{Answer, Client};
use crate::common::{PATIENCE, Weir, read_to_end, read_until};
use crate::orders::{DRAIN, order};

const LIVE: &str = "[broadcaster]\nanonymous = \"all\"\ndrain_window = \"0s\"\n\
                    [[routes]]\npath_exact = \"/live\"\nbroadcast = true\n";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn socket(url: &str) -> Socket {
    let (socket, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(answer.status(), 101);
    socket
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let next = timeout(PATIENCE, socket.next())
        .await
        .expect("something comes");
    next.and_then(Result::ok)
}

/// Reads until a text holds this.
async fn hear(socket: &mut Socket, wanted: &str) -> String {
    loop {
        let message = next(socket).await.expect("the socket stays open");
        if let Message::Text(text) = message
            && text.contains(wanted)
        {
            return text.to_string();
        }
    }
}

/// Asks for an event stream, from where another one was.
async fn events(address: std::net::SocketAddr, path: &str, last: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: {last}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn ask(weir: &Weir, request: &str) -> Answer {
    Client::connect(weir.ingress)
        .await
        .ask(request)
        .await
        .unwrap()
}

async fn post(weir: &Weir, text: &str) -> Answer {
    let head = "POST /live?topic=chat HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n";
    ask(
        weir,
        &format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()),
    )
    .await
}

#[tokio::test]
async fn whatever_way_clients_come_in_all_get_all_and_come_back_without_a_hole() {
    let weir = Weir::start(LIVE).await;
    let mut route = socket(&format!("ws://{}/live?topic=chat", weir.ingress)).await;
    let mut api = socket(&format!("ws://{}/ws?pattern=*&topic=chat", weir.api)).await;
    hear(&mut route, "subscribed").await;
    hear(&mut api, "subscribed").await;
    let mut stream = events(weir.ingress, "/live?topic=chat", "").await;
    let head = read_until(&mut stream, "event: subscribed").await;
    let head = head.to_ascii_lowercase();
    for field in [
        "text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(field), "{head}");
    }
    let posted = post(&weir, "posted").await;
    assert_eq!(posted.status, 200, "{}", posted.text());
    assert!(posted.text().contains("\"offset\":1"), "{}", posted.text());
    let told = read_until(&mut stream, "posted").await;
    let id = told
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .next_back();
    let id = id.unwrap().to_owned();
    drop(stream);
    let publish = r#"{"publish":{"topic":"chat","text":"said","id":1}}"#;
    route.send(Message::text(publish)).await.unwrap();
    assert_eq!(weir.post_api("/api/topics/chat", "{\"n\":1}").await, 200);
    for socket in [&mut route, &mut api] {
        let mut heard = String::new();
        while !["posted", "said", "\"data\":{\"n\":1}"]
            .iter()
            .all(|text| heard.contains(text))
        {
            heard.push_str(&hear(socket, "batch").await);
        }
    }
    let mut back = events(weir.api, "/sse?topic=chat", &id).await;
    let mut missed = read_until(&mut back, "said").await;
    if !missed.contains("\"n\":1") {
        missed.push_str(&read_until(&mut back, "\"n\":1").await);
    }
    assert!(
        missed.contains("\"ok\":true") && !missed.contains("posted"),
        "{missed}"
    );
    let poll = format!("GET /live?topic=chat&since={id} HTTP/1.1\r\nHost: test\r\n\r\n");
    let polled = ask(&weir, &poll).await.text();
    assert!(
        polled.contains("said") && !polled.contains("posted"),
        "{polled}"
    );
    let (status, kept) = weir.get_api("/api/topics/chat?limit=9").await.unwrap();
    assert_eq!(status, 200, "{kept}");
    assert!(kept.contains("posted") && kept.contains("said"), "{kept}");
}

#[tokio::test]
async fn what_a_client_sends_behind_its_upgrade_without_waiting_is_heard() {
    let weir = Weir::start(LIVE).await;
    let head = "GET /live HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ask = r#"{"subscribe":{"topics":["early"],"id":7}}"#;
    // The mask is zero, which is a mask.
    let frame_head = [0x81, 0x80 | u8::try_from(ask.len()).unwrap(), 0, 0, 0, 0];
    let all = [head.as_bytes(), &frame_head, ask.as_bytes()].concat();
    for sent_with_the_head in [all.len(), all.len() - 10, head.len() + 1] {
        let (first, rest) = all.split_at(sent_with_the_head);
        let mut client = weir.connect().await;
        client.write_all(first).await.unwrap();
        let told = read_until(&mut client, "101 Switching").await;
        client.write_all(rest).await.unwrap();
        if !told.contains("\"id\":7") {
            read_until(&mut client, "\"id\":7").await;
        }
    }
}

#[tokio::test]
async fn operators_see_topics_and_subscribers_and_end_one() {
    let weir = Weir::start(LIVE).await;
    let mut socket = socket(&format!("ws://{}/live?topic=chat&name=ann", weir.ingress)).await;
    hear(&mut socket, "subscribed").await;
    let (_, topics) = weir.get_api("/api/topics").await.unwrap();
    assert!(topics.contains("\"topic\":\"chat\""), "{topics}");
    let (_, present) = weir.get_api("/api/topics/chat/presence").await.unwrap();
    assert!(present.contains("ann"), "{present}");
    let (_, open) = weir.get_api("/api/connections?by=lag").await.unwrap();
    let open: serde_json::Value = serde_json::from_str(&open).unwrap();
    let id = open["connections"][0]["id"].as_str().unwrap();
    let mut client = TcpStream::connect(weir.api).await.unwrap();
    let end = format!(
        "DELETE /api/connections/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    client.write_all(end.as_bytes()).await.unwrap();
    let ended = read_to_end(&mut client).await;
    assert!(ended.starts_with("HTTP/1.1 204"), "{ended}");
    let closed = next(&mut socket).await;
    let Some(Message::Close(Some(close))) = closed else {
        panic!("{closed:?}");
    };
    let told = (u16::from(close.code), &*close.reason);
    assert_eq!(told, (4002, "operator"));
}

#[tokio::test]
async fn what_a_route_for_messages_does_not_take_is_told() {
    let weir = Weir::start(LIVE).await;
    let get = |extra: &str| format!("GET /live?topic=a HTTP/1.1\r\nHost: test\r\n{extra}\r\n");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let old = ask(
        &weir,
        &get(&format!("{upgrade}Sec-WebSocket-Version: 8\r\n")),
    )
    .await;
    assert_eq!(old.status, 426);
    assert_eq!(old.header("sec-websocket-version"), Some("13"));
    let unspoken = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n";
    let unspoken = ask(&weir, &get(&format!("{upgrade}{unspoken}"))).await;
    assert_eq!(unspoken.status, 400);
    assert!(
        unspoken.text().contains("sec-websocket-protocol"),
        "{}",
        unspoken.text()
    );
    let put = ask(&weir, &get("").replace("GET", "PUT")).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, POST")));
    let reserved = ask(
        &weir,
        "POST /live?topic=_weir.x HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx",
    )
    .await;
    assert_eq!(reserved.status, 400);
    assert!(
        reserved.text().contains("node's own"),
        "{}",
        reserved.text()
    );
    let mut foreign = format!("ws://{}/ws", weir.api)
        .into_client_request()
        .unwrap();
    let origin = "https://example.com".parse().unwrap();
    foreign.headers_mut().insert("origin", origin);
    assert!(tokio_tungstenite::connect_async(foreign).await.is_err());
}

#[tokio::test]
async fn a_node_that_stops_sends_its_subscribers_away_first() {
    let mut weir = Weir::start(LIVE).await;
    let mut sockets = [
        socket(&format!("ws://{}/live?topic=a", weir.ingress)).await,
        socket(&format!("ws://{}/ws?topic=a", weir.api)).await,
    ];
    for socket in &mut sockets {
        hear(socket, "subscribed").await;
    }
    weir.signal(rustix::process::Signal::TERM);
    for socket in &mut sockets {
        hear(socket, "{\"reconnect\":{\"after_ms\":0,").await;
        socket.close(None).await.unwrap();
    }
    let ended = timeout(PATIENCE, weir.child.wait()).await;
    assert!(ended.unwrap().unwrap().success(), "{}", weir.log());
}

#[tokio::test]
async fn a_node_that_drains_and_has_nobody_beside_it_lets_newcomers_in() {
    let weir = Weir::start(LIVE).await;
    let urls = [
        format!("ws://{}/live?topic=chat", weir.ingress),
        format!("ws://{}/ws?topic=chat", weir.api),
    ];
    let mut stubborn = socket(&urls[1]).await;
    hear(&mut stubborn, "subscribed").await;
    assert_eq!(order(&weir, DRAIN).await, "draining");
    hear(&mut stubborn, "reconnect").await;
    let mut newcomers = Vec::new();
    for url in &urls {
        let mut newcomer = socket(url).await;
        hear(&mut newcomer, "subscribed").await;
        newcomers.push(newcomer);
    }
    // Whoever was told to go and stays is cut, and whoever came later was told nothing.
    while !matches!(next(&mut stubborn).await, None | Some(Message::Close(_))) {}
    post(&weir, "still here").await;
    for newcomer in &mut newcomers {
        hear(newcomer, "still here").await;
    }
}

#[tokio::test]
async fn whoever_reads_late_and_then_fast_gets_the_last_message_of_a_flood() {
    let keys = "[broadcaster]\nclient_queue_bytes_max = \"16MiB\"\nbatch_messages_max = 1\nanonymous = \"all\"";
    let weir = Weir::start(&LIVE.replace("[broadcaster]\nanonymous = \"all\"", keys)).await;
    let url = format!("ws://{}/live?topic=flood", weir.ingress);
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        subscribers.push(socket(&url).await);
    }
    let mut publisher = socket(&format!("ws://{}/live", weir.ingress)).await;
    let filler = "x".repeat(400);
    for number in 1..=5_000 {
        let text = if number == 5_000 { "the last" } else { &filler };
        let publish =
            format!("{{\"publish\":{{\"topic\":\"flood\",\"ack\":\"none\",\"text\":\"{text}\"}}}}");
        publisher.feed(Message::text(publish)).await.unwrap();
    }
    publisher.flush().await.unwrap();
    for subscriber in &mut subscribers {
        hear(subscriber, "the last").await;
    }
}
