//! Clients, through their faces, on one thread and with paused time.

mod asks;
mod deflate;
mod doors;
mod events;
mod sockets;

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::LocalSet;
use weir_broadcast::{Draft, Encoding, Shard};
use weir_core::broadcast::{Content, TopicName};

use super::opening::Opening;
use super::rights::Face;
use super::session::Session;
use super::socket::{self, Form};
use super::{Ack, Broadcast, Coming, Turned};
use crate::config::{Config, Environment, Given};
use crate::ports::clock::WallClock;

/// Bytes that a client's system takes although nobody reads them.
const SYSTEM_BYTES: usize = 4 << 10;

pub(super) struct Node {
    pub(super) broadcast: Broadcast,
    pub(super) shard: Rc<Shard>,
}

/// Runs a test on a node with these keys.
pub(super) async fn with_node(config: &str, test: impl AsyncFnOnce(Node)) {
    let run = async {
        let clock = WallClock::starting_at(Duration::from_secs(1_000));
        let config = parsed(config);
        let broadcast = Broadcast::new(&config, clock, 7);
        let shard = broadcast.shard(0).unwrap();
        for number in broadcast.client_shards() {
            let shard = match number {
                0 => Some(Rc::clone(&shard)),
                number => broadcast.shard(number),
            };
            let broadcast = broadcast.clone();
            tokio::task::spawn_local(async move { broadcast.run_shard(shard).await });
        }
        test(Node { broadcast, shard }).await;
    };
    LocalSet::new().run_until(run).await;
}

pub(super) fn parsed(config: &str) -> Config {
    let config = format!("[node]\ncores = 1\n{config}");
    Config::parse(&config, &Environment::new(), &Given::default()).unwrap()
}

impl Node {
    pub(super) fn coming(&self, query: &str) -> Coming {
        Coming {
            face: Face::Route,
            peer: "10.0.0.1:4000".parse().unwrap(),
            query: query.to_owned(),
            bearer: None,
            last_event_id: None,
            only_looks: false,
        }
    }

    pub(super) async fn open(
        &self,
        coming: &Coming,
        encoding: Encoding,
    ) -> Result<(Session, Opening), Turned> {
        let opening = Opening::of(&coming.query, coming.last_event_id.as_deref())?;
        let session = self.broadcast.open(&self.shard, coming, &opening, encoding);
        Ok((session.await?, opening))
    }

    /// A WebSocket, and what its system takes unread.
    pub(super) async fn socket_with(&self, query: &str, encoding: Encoding) -> Client {
        let coming = self.coming(query);
        let (session, opening) = self.open(&coming, encoding).await.unwrap();
        let (near, far) = tokio::io::duplex(SYSTEM_BYTES);
        let first = session.first(&opening);
        let is_plain = matches!(encoding, Encoding::WebSocketJson | Encoding::WebSocketProto);
        let form = Form {
            encoding,
            extensions: (!is_plain).then_some("permessage-deflate"),
        };
        tokio::task::spawn_local(socket::run(far, Bytes::new(), session, form, first));
        Client { stream: near }
    }

    pub(super) async fn socket(&self, query: &str) -> Client {
        self.socket_with(query, Encoding::WebSocketJson).await
    }

    pub(super) async fn publish(&self, topic: &str, text: &str) {
        let draft = Draft {
            content: Content::Text,
            ..Draft::new(TopicName::any(topic).unwrap(), Bytes::from(text.to_owned()))
        };
        self.broadcast.publish(draft, Ack::Owner).await.unwrap();
    }
}

/// A client that speaks frames.
pub(super) struct Client<S = DuplexStream> {
    pub(super) stream: S,
}

impl Client {
    /// The same, who has read this and not looked at it.
    pub(super) fn after(self, read: Vec<u8>) -> Client<impl AsyncRead + Unpin> {
        let stream = std::io::Cursor::new(read).chain(self.stream);
        Client { stream }
    }

    pub(super) async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            medium => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
            }
        }
        let key = [9, 8, 7, 6];
        frame.extend_from_slice(&key);
        let masked = payload.iter().zip(key.iter().cycle());
        frame.extend(masked.map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame).await.unwrap();
    }

    pub(super) async fn ask(&mut self, json: &str) {
        self.send(0x81, json.as_bytes()).await;
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// The next frame: its first byte and its payload; `None` when the node has closed.
    pub(super) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.ok()?;
        let mut long = [0; 8];
        let bytes = match head[1] {
            126 => {
                self.stream.read_exact(&mut long[6..]).await.ok()?;
                u64::from_be_bytes(long)
            }
            127 => {
                self.stream.read_exact(&mut long).await.ok()?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(bytes).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[0], payload))
    }

    /// The next text.
    pub(super) async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await.expect("a frame");
        assert_eq!(first, 0x81, "{:?}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).unwrap()
    }

    /// The code and the reason of the close frame, after whatever comes before.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.frame().await.expect("a close frame");
            if first == 0x88 {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                assert_eq!(self.frame().await, None, "nothing follows");
                return (code, reason);
            }
        }
    }

    /// All texts of messages up to one that ends with this.
    pub(super) async fn texts_until(&mut self, last: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let json: serde_json::Value = serde_json::from_str(&self.text().await).unwrap();
            for message in json["batch"]["messages"].as_array().into_iter().flatten() {
                texts.push(message["text"].as_str().unwrap().to_owned());
            }
            if texts.last().is_some_and(|text| text == last) {
                return texts;
            }
        }
    }
}
