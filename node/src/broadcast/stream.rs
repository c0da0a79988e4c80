//! A subscriber whose transport is on another thread or inside of a response: frames go through a channel of one, which
//! keeps the back-pressure.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use weir_broadcast::{Control, Encoding, Writing};
use weir_core::broadcast::{CutReason, Positions};

use super::opening::Opening;
use super::session::Session;

/// Without anything else a client hears something in this time, and a proxy between does not take it for dead.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// When a browser comes again by itself after the stream ended.
const RETRY: &str = "retry: 2000\n";
/// What goes before events; the last one is for proxies that would keep them back.
pub(crate) const HEADERS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
];
/// How often a stream whose client takes nothing looks whether it was cut.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Runs an event stream to its end.
pub(crate) async fn events(session: Session, opening: Opening, sender: mpsc::Sender<Bytes>) {
    let mut events = Events {
        positions: session.positions(&opening),
        writing: Writing::new(),
    };
    let mut session = session;
    let first = events.first(&opening);
    if give(&session, &sender, first).await.is_err() {
        return;
    }
    let ended = events.run(&mut session, &sender).await;
    if let Err(Some(reason)) = ended {
        let cut = format!(
            "event: cut\ndata: {{\"cut\":{{\"reason\":\"{}\"}}}}\n\n",
            reason.as_str()
        );
        // There may be room for it, and there may not.
        let _ = sender.try_send(cut.into());
    }
}

/// `None` when the client has gone.
type Ended = Option<CutReason>;

struct Events {
    positions: Positions,
    writing: Writing,
}

impl Events {
    /// Where a client that comes again before the first message goes on.
    fn first(&self, opening: &Opening) -> Bytes {
        let mut out = BytesMut::from(RETRY);
        if !self.positions.is_empty() {
            out.extend_from_slice(format!("id: {}\n", self.positions).as_bytes());
        }
        let topics = self.positions.iter();
        let subscribed = Control::Subscribed {
            id: 0,
            topics: topics.map(|(topic, at)| (topic.clone(), at)).collect(),
        };
        out.extend_from_slice(&subscribed.encode(Encoding::Sse));
        if opening.positions.is_partial() {
            let error = Control::Error {
                id: 0,
                field: "last-event-id".into(),
                message: "not all topics fitted into it: others go on from now".into(),
            };
            out.extend_from_slice(&error.encode(Encoding::Sse));
        }
        out.freeze()
    }

    async fn run(
        &mut self,
        session: &mut Session,
        sender: &mpsc::Sender<Bytes>,
    ) -> Result<(), Ended> {
        let mut said_at = Instant::now();
        loop {
            session.look_again();
            let quiet = sleep_until(said_at + PING_INTERVAL);
            tokio::select! {
                biased;
                () = sender.closed() => return Err(None),
                () = session.connection().ready() => {
                    let now = || session.broadcast().now();
                    session.connection().take(&mut self.writing, now).map_err(Some)?;
                }
                () = quiet => self.writing.push(Control::Ping.encode(Encoding::Sse)),
            }
            let out = self.dress();
            if !out.is_empty() {
                give(session, sender, out).await?;
                said_at = Instant::now();
            }
        }
    }

    /// The events that were taken, each with where it leaves the client in all its topics.
    fn dress(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.writing.bytes() + 64);
        while let Some(frame) = self.writing.pop() {
            let (positions, rest) = split_id(&frame);
            if let Some(told) = positions {
                for (topic, position) in told.iter() {
                    self.positions.set(topic, position);
                }
                out.extend_from_slice(format!("id: {}\n", self.positions).as_bytes());
            }
            out.extend_from_slice(rest);
        }
        out.freeze()
    }
}

/// Where an event leaves a subscriber, and what follows that line.
pub(super) fn split_id(event: &[u8]) -> (Option<Positions>, &[u8]) {
    let line = event.strip_prefix(b"id: ");
    let end = line.and_then(|line| line.iter().position(|byte| *byte == b'\n'));
    let Some((line, end)) = line.zip(end) else {
        return (None, event);
    };
    let (id, rest) = line.split_at(end);
    let positions = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
    (positions, rest.get(1..).unwrap_or_default())
}

/// Gives something to the transport, for as long as a client may take nothing.
pub(super) async fn give(
    session: &Session,
    sender: &mpsc::Sender<Bytes>,
    bytes: Bytes,
) -> Result<(), Ended> {
    let age_max = session.broadcast().topics().limits().outbox.age_max;
    let until = Instant::now() + age_max;
    let mut waits = std::pin::pin!(sender.reserve());
    loop {
        let look_at = until.min(Instant::now() + LOOK_INTERVAL);
        tokio::select! {
            biased;
            permit = &mut waits => {
                permit.map_err(|_| None)?.send(bytes);
                return Ok(());
            }
            () = sleep_until(look_at) => {}
        }
        if Instant::now() >= until {
            session.connection().cut(CutReason::Slow);
        }
        if let Some(reason) = session.connection().cut_reason() {
            return Err(Some(reason));
        }
    }
}
