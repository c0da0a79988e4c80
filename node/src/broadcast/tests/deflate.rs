//! WebSockets whose messages are compressed.

use flate2::{Decompress, FlushDecompress};
use http::{HeaderMap, HeaderValue, Method, Version};
use weir_broadcast::Encoding;
use weir_core::websocket::{Deflater, handshake};

use super::{Client, parsed, with_node};
use crate::broadcast::socket::{Form, PROTOCOLS};

const OPEN: &str = "[broadcaster]\nanonymous = \"all\"\ndeflate_bytes_min = \"300B\"\n\
                    [ingress]\nwebsocket_message_bytes_max = \"2048B\"\n";
/// The first byte of a whole text that is compressed.
const DEFLATED_TEXT: u8 = 0xc1;

fn inflate(payload: &[u8]) -> String {
    let mut out = Vec::with_capacity(1 << 20);
    let message = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut inflater = Decompress::new(false);
    inflater
        .decompress_vec(&message, &mut out, FlushDecompress::Sync)
        .unwrap();
    String::from_utf8(out).unwrap()
}

async fn text_of(client: &mut Client, expected: u8) -> String {
    let (first, payload) = client.frame().await.expect("a frame");
    assert_eq!(first, expected, "{}", String::from_utf8_lossy(&payload));
    match first {
        DEFLATED_TEXT => inflate(&payload),
        _ => String::from_utf8(payload).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn long_messages_are_compressed_once_for_all_who_have_agreed_and_for_nobody_else() {
    with_node(OPEN, async |node| {
        let deflated = Encoding::WebSocketJsonDeflate;
        let mut clients = [
            (node.socket_with("topic=a", deflated).await, DEFLATED_TEXT),
            (node.socket_with("topic=a", deflated).await, DEFLATED_TEXT),
            (node.socket("topic=a").await, 0x81),
        ];
        for (client, _) in &mut clients {
            client.text().await;
        }
        let encoded = || node.broadcast.topics().account().batches_encoded();
        let before = encoded();
        for n in 0..3 {
            let text = format!("{n} {}", "again and again ".repeat(50));
            node.publish("a", &text).await;
            for (client, expected) in &mut clients {
                let told = text_of(client, *expected).await;
                assert!(
                    told.contains(&text) && told.starts_with("{\"batch\""),
                    "{told}"
                );
            }
            // Plain and compressed.
            assert_eq!(encoded() - before, 2 * (n + 1));
        }
        node.publish("a", "short").await;
        for (client, _) in &mut clients {
            assert!(text_of(client, 0x81).await.contains("short"));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_compresses_is_read_within_the_bound_of_its_messages() {
    with_node(OPEN, async |node| {
        let mut deflater = Deflater::default();
        let mut deflate = |text: &str| deflater.deflate(text.as_bytes()).unwrap();
        let mut client = node.socket_with("", Encoding::WebSocketJsonDeflate).await;
        let topic = "a".repeat(200);
        let ask = format!(r#"{{"subscribe":{{"topics":["{topic}"],"id":1}}}}"#);
        client.send(DEFLATED_TEXT, &deflate(&ask)).await;
        assert!(client.text().await.contains(&topic));
        // A message in parts has the bit in the first one alone.
        let payload = deflate(&ask.replace("\"id\":1", "\"id\":2"));
        let (head, tail) = payload.split_at(payload.len() / 2);
        client.send(DEFLATED_TEXT & 0x7f, head).await;
        client.send(0x89, b"between").await;
        client.send(0x80, tail).await;
        let mut came = [client.frame().await.unwrap(), client.frame().await.unwrap()];
        came.sort();
        let [(0x81, answer), (0x8a, pong)] = &came else {
            panic!("{came:?}");
        };
        assert!(String::from_utf8_lossy(answer).contains("\"id\":2") && pong == b"between");
        client.ask(&ask.replace("\"id\":1", "\"id\":3")).await;
        assert!(client.text().await.contains("\"id\":3"));

        let bomb = deflate(&"a".repeat(1 << 20));
        assert!(bomb.len() < 2_048);
        for (first, payload, code, why) in [
            (
                DEFLATED_TEXT,
                &*bomb,
                1009,
                "2049 bytes or more, more than 2048",
            ),
            (DEFLATED_TEXT, &[0xff; 9], 1007, "cannot be read"),
            (0xc0, &[0; 1], 1002, "reserved bit"),
            (0xc9, &[0; 1], 1002, "reserved bit"),
            (0xa1, &[0; 1], 1002, "reserved bit"),
        ] {
            let mut client = node.socket_with("", Encoding::WebSocketJsonDeflate).await;
            client.send(first, payload).await;
            let (found, reason) = client.closed().await;
            assert!(
                found == code && reason.contains(why),
                "{first:x}: {found} {reason}"
            );
        }
    })
    .await;
}

#[test]
fn it_is_agreed_on_only_where_it_is_wanted_and_offered() {
    let forms = |config: &str, offer: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(offer) = offer {
            let offer = HeaderValue::from_static(offer);
            headers.insert("sec-websocket-extensions", offer);
        }
        let spoken = &PROTOCOLS;
        let taken = handshake(&Method::GET, Version::HTTP_11, &headers, spoken).unwrap();
        let form = Form::of(&taken, &parsed(config).broadcaster);
        (form.encoding, form.extensions)
    };
    let offer = Some("permessage-deflate; client_max_window_bits");
    assert_eq!(forms("", offer), (Encoding::WebSocketJson, None));
    assert_eq!(forms(OPEN, None), (Encoding::WebSocketJson, None));
    let (encoding, answer) = forms(OPEN, offer);
    assert_eq!(encoding, Encoding::WebSocketJsonDeflate);
    assert_eq!(
        answer,
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    );
    // Frames are the same for everybody, and look back farther than such a client can.
    let offer = Some("permessage-deflate; server_max_window_bits=9");
    let (encoding, answer) = forms(OPEN, offer);
    assert_eq!(encoding, Encoding::WebSocketJson);
    assert!(answer.unwrap().ends_with("; server_max_window_bits=9"));
}
