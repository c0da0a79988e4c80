//! What it costs to give messages to many: one topic, 1,000 subscribers, one thread, no sockets.
//!
//! `cargo bench --profile load -p weir-broadcast --bench fan_out -- --seconds 5`. Counts everything between publishing
//! and the bytes that a socket would take: numbering, history, batching, encoding, outboxes, taking. Writing to
//! sockets costs more than all of it, so this is a ceiling.

use std::io::{self, IoSlice, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_broadcast::{
    Connection, Count, Draft, Encoding, SLICES_MAX, Shard, Since, Topics, Writing,
};
use weir_core::broadcast::{BatchLimits, Limits, TopicName};
use weir_core::cache::UnixMs;

const SUBSCRIBERS: usize = 1_000;
const DATA_BYTES: usize = 128;
/// Messages of one step of the clock.
const BURST: usize = 10;
const SECONDS: u64 = 3;
const USAGE: &str = "usage: fan_out [--seconds N], N from 1 to 600";

fn main() -> ExitCode {
    let Some(seconds) = seconds() else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::FAILURE;
    };
    let mut out = io::stdout().lock();
    for encoding in [Encoding::WebSocketJson, Encoding::WebSocketProto] {
        for messages_max in [1, 10] {
            match measure(encoding, messages_max, Duration::from_secs(seconds)) {
                Ok(line) => drop(writeln!(out, "{line}")),
                Err(why) => {
                    let _ = writeln!(io::stderr(), "fan_out: {why}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn seconds() -> Option<u64> {
    // Cargo adds an argument of its own.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match &arguments[..] {
        [] => Some(SECONDS),
        [name, value] if name == "--seconds" => value
            .parse()
            .ok()
            .filter(|seconds| (1..=600).contains(seconds)),
        _ => None,
    }
}

fn measure(encoding: Encoding, messages_max: usize, time: Duration) -> Result<String, String> {
    let limits = Limits {
        batch: BatchLimits {
            messages_max,
            ..BatchLimits::default()
        },
        ..Limits::default()
    };
    let topics = Topics::new(limits, 1, 1).map_err(|error| error.to_string())?;
    let shard = Shard::new(&topics, 0).ok_or("there is no shard")?;
    let topic = TopicName::new("bench.fan-out").map_err(|error| error.to_string())?;
    let connections: Vec<Connection> = (0..SUBSCRIBERS)
        .map(|_| shard.connect("bench", encoding))
        .collect();
    for connection in &connections {
        let subscribed = connection.subscribe(&topic, Since::Now, UnixMs(0));
        subscribed.map_err(|error| error.to_string())?;
    }
    let draft = Draft::new(topic, Bytes::from(vec![b'x'; DATA_BYTES]));
    let (mut now, mut bytes, mut writing) = (UnixMs(0), 0, Writing::new());
    let began = Instant::now();
    while began.elapsed() < time {
        now.0 += 1;
        for _ in 0..BURST {
            topics
                .publish(draft.clone(), now)
                .map_err(|error| error.to_string())?;
        }
        while shard.work(now).more {}
        for connection in &connections {
            bytes += take(connection, &mut writing, now)?;
        }
    }
    let elapsed = began.elapsed().as_secs_f64();
    let counters = topics.counters(0).ok_or("there are no counters")?;
    let messages = counters.get(Count::DeliveredMessages);
    let published = topics.published() * SUBSCRIBERS as u64;
    if counters.get(Count::FellBehind) > 0
        || published - messages > (messages_max * SUBSCRIBERS) as u64
    {
        return Err(format!("{messages} of {published} messages were delivered"));
    }
    Ok(format!(
        "{:<16} at most {messages_max:>2} a frame: {:>6.2} M messages/s, {:>6.2} M frames/s, {:>6.0} MB/s",
        encoding.as_str(),
        messages as f64 / elapsed / 1e6,
        counters.get(Count::Deliveries) as f64 / elapsed / 1e6,
        bytes as f64 / elapsed / 1e6,
    ))
}

/// As a task does it whose socket takes everything.
fn take(connection: &Connection, writing: &mut Writing, now: UnixMs) -> Result<usize, String> {
    let mut bytes = 0;
    loop {
        let taken = connection.take(writing, || now);
        taken.map_err(|reason| reason.as_str().to_owned())?;
        if writing.is_empty() {
            return Ok(bytes);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = writing.slices(&mut slices);
        let written = slices[..filled].iter().map(|slice| slice.len()).sum();
        bytes += written;
        writing.advance(written);
    }
}
