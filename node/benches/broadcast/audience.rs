//! Subscribers, and what came to them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use memchr::memmem;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use super::socket::{Listening, Speaking, connect};

const OPENED_AT_ONCE: usize = 64;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What came to all of them together.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) frames: Cell<u64>,
    pub(super) messages: Cell<u64>,
    pub(super) last_at: Cell<Option<Instant>>,
    /// From before each message was sent until it was read.
    pub(super) latencies: RefCell<Vec<Duration>>,
}

/// Subscribers that read whatever comes.
pub(super) struct Audience {
    pub(super) seen: Rc<Seen>,
    readers: Vec<JoinHandle<()>>,
    speaking: Vec<Speaking>,
}

impl Drop for Audience {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl Audience {
    /// So many subscribers of a topic.
    pub(super) async fn of(node: SocketAddr, topic: &str, count: usize) -> Result<Self, String> {
        let query = format!("topic={topic}");
        let query = &query;
        let opened = (0..count).map(|_| async move { connect(node, query).await });
        let opened: Vec<_> = stream::iter(opened)
            .buffer_unordered(OPENED_AT_ONCE)
            .try_collect()
            .await?;
        let seen = Rc::new(Seen::default());
        let mut audience = Self {
            seen,
            readers: Vec::new(),
            speaking: Vec::new(),
        };
        for (listening, speaking) in opened {
            let reader = spawn_local(read(listening, Rc::clone(&audience.seen)));
            audience.readers.push(reader);
            audience.speaking.push(speaking);
        }
        Ok(audience)
    }

    /// Waits until so many messages came to all of them together.
    pub(super) async fn has(&self, messages: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen.messages.get() < messages {
            if Instant::now() > deadline {
                let got = self.seen.messages.get();
                return Err(format!("{got} of {messages} messages came"));
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}

async fn read(mut listening: Listening, seen: Rc<Seen>) {
    let marks = memmem::Finder::new(b"\"sent_us\":");
    while let Some(frame) = listening.next().await {
        let mut messages = 0;
        let now = Instant::now();
        for at in marks.find_iter(frame) {
            messages += 1;
            let digits = frame[at + marks.needle().len()..].iter();
            let digits = digits.take_while(|byte| byte.is_ascii_digit());
            let sent_us = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            if sent_us > 0 {
                let waited = since_start(now).saturating_sub(Duration::from_micros(sent_us));
                seen.latencies.borrow_mut().push(waited);
            }
        }
        if messages > 0 {
            seen.frames.set(seen.frames.get() + 1);
            seen.messages.set(seen.messages.get() + messages);
            seen.last_at.set(Some(now));
        }
    }
}

/// A message of about 128 bytes with the time at which it is sent, or without.
pub(super) fn message(topic: &str, is_timed: bool) -> String {
    let sent_us = match is_timed {
        true => since_start(Instant::now()).as_micros(),
        false => 0,
    };
    let filler = "x".repeat(96);
    let data = format!("{{\"sent_us\":{sent_us},\"f\":\"{filler}\"}}");
    format!("{{\"publish\":{{\"topic\":\"{topic}\",\"ack\":\"none\",\"data\":{data}}}}}")
}

fn since_start(now: Instant) -> Duration {
    thread_local! {
        static START: Instant = Instant::now();
    }
    START.with(|start| now.saturating_duration_since(*start)) + Duration::from_micros(1)
}

/// The value below which this share of them is.
pub(super) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(at.min(last)).copied().unwrap_or_default()
}
