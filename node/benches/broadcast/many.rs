//! Latency with very many clients, and with some that do not read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audience::{Audience, message, quantile};
use super::crowd::Crowd;
use super::nodes::{Node, Nodes};
use super::report::{Report, ms};
use super::socket::{Listening, Speaking, connect};
use super::{Options, PATIENCE};

const MESSAGES_A_SECOND: u32 = 20;
/// Of very many clients so many are timed.
const TIMED: usize = 1_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Messages that fill what the kernel and the node hold for a client that does not read: 2 MiB of a topic of their own.
const FLOOD: usize = 500;
const FLOOD_BYTES: usize = 4 << 10;
/// Of what is compared.
const ROUNDS: usize = 5;
/// Nobody is cut while it is measured.
const KEYS: &str = "client_queue_age_max = \"120s\"";

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let clients = options.clients as usize;
    for cores in [1, 2] {
        let nodes = Nodes::one_on(cores, options, KEYS).await?;
        report.section(&format!(
            "{clients} clients at 20 messages/s, {TIMED} of them timed; the node on {cores} of the machine's cores"
        ));
        let measured = measure(options, &nodes.nodes[0], clients).await?;
        report.figure("p50 from publish to read", ms(measured.at(0.5)));
        let p99 = measured.at(0.99);
        match cores {
            1 => report.figure("p99 from publish to read", ms(p99)),
            _ => {
                let is_met = p99 <= Duration::from_millis(50);
                report.bar("p99 from publish to read", ms(p99), "at most 50 ms", is_met);
            }
        }
        report.figure("latest", ms(measured.at(1.0)));
        report.figure("  processor time of a delivery", measured.costs());
    }
    with_frozen(options, report, clients / 10).await
}

/// Two nodes that differ in their frozen clients alone, measured in turn.
async fn with_frozen(options: &Options, report: &mut Report, clients: usize) -> Result<(), String> {
    let nodes = [
        Nodes::one(options, KEYS).await?,
        Nodes::one(options, KEYS).await?,
    ];
    let [without, with] = nodes.each_ref().map(|nodes| &nodes.nodes[0]);
    report.section(&format!(
        "{clients} clients, and beside as many a tenth more that does not read; medians of {ROUNDS} rounds"
    ));
    let frozen = freeze(with, clients / 10).await?;
    let mut p99s = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (p99s, node) in p99s.iter_mut().zip([without, with]) {
            p99s.push(measure(options, node, clients).await?.at(0.99));
        }
    }
    drop(frozen);
    let [without, with] = p99s.map(|mut p99s| quantile(&mut p99s, 0.5));
    report.figure("p99 without them", ms(without));
    let bar = without.mul_f64(1.1) + Duration::from_micros(200);
    report.bar("p99 with them", ms(with), "10 % more at most", with <= bar);
    Ok(())
}

/// Clients that never read, and for which all that the kernel and the node hold is full.
async fn freeze(node: &Node, count: usize) -> Result<Vec<(Listening, Speaking)>, String> {
    let mut frozen = Vec::new();
    for _ in 0..count {
        frozen.push(connect(node.ingress, "topic=many&topic=flood").await?);
    }
    let (_answers, mut publisher) = connect(node.ingress, "").await?;
    let filler = "x".repeat(FLOOD_BYTES);
    let long =
        format!("{{\"publish\":{{\"topic\":\"flood\",\"ack\":\"none\",\"data\":\"{filler}\"}}}}");
    publisher.say(&vec![long; FLOOD]).await?;
    // Nothing is measured before the node has given out all of it.
    let flooded = Audience::of(node.ingress, "flooded", 1).await?;
    publisher.say(&[message("flooded", false)]).await?;
    flooded.has(1).await?;
    Ok(frozen)
}

/// What came, when, and at what cost.
struct Measured {
    latencies_us: Vec<u32>,
    node: Duration,
    clients: Duration,
    messages: u64,
    reads: u64,
}

impl Measured {
    /// The latency below which this share of them is.
    fn at(&self, share: f64) -> Duration {
        let at = (self.latencies_us.len() as f64 * share) as usize;
        let last = self.latencies_us.len().saturating_sub(1);
        let us = self.latencies_us.get(at.min(last)).copied();
        Duration::from_micros(us.unwrap_or_default().into())
    }

    fn costs(&self) -> String {
        let messages = self.messages.max(1) as f64;
        let each = |all: Duration| all.as_secs_f64() * 1e6 / messages;
        format!(
            "{:.1} µs of the node, {:.1} µs of the clients; {:.2} messages a read",
            each(self.node),
            each(self.clients),
            messages / self.reads.max(1) as f64
        )
    }
}

async fn measure(options: &Options, node: &Node, clients: usize) -> Result<Measured, String> {
    let start = Instant::now();
    let crowd = Crowd::of(node.ingress, "many", (clients, TIMED.min(clients)), start)?;
    let (_answers, mut publisher) = connect(node.ingress, "").await?;
    let messages = u32::try_from(options.seconds).unwrap_or(5) * MESSAGES_A_SECOND;
    let node_before = node.process.cpu_ms()?;
    let mut next = Instant::now();
    for number in 1..=messages {
        publisher.say(&[numbered(number, start)]).await?;
        next += Duration::from_secs(1) / MESSAGES_A_SECOND;
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let all = u64::from(messages) * clients as u64;
    let deadline = Instant::now() + PATIENCE;
    while crowd.messages() < all && Instant::now() < deadline {
        sleep(LOOK_INTERVAL).await;
    }
    let node_ms = node.process.cpu_ms()? - node_before;
    let got = crowd.messages();
    let mut told = crowd.end()?;
    if got < all {
        return Err(format!("{got} of {all} messages came"));
    }
    told.latencies_us.sort_unstable();
    Ok(Measured {
        latencies_us: told.latencies_us,
        node: Duration::from_millis(node_ms),
        clients: told.cpu,
        messages: told.messages,
        reads: told.reads,
    })
}

/// A message of about 128 bytes with its number and the time at which it is sent.
fn numbered(number: u32, start: Instant) -> String {
    let sent_us = start.elapsed().as_micros();
    let filler = "x".repeat(88);
    let data = format!("{{\"n\":{number},\"sent_us\":{sent_us},\"f\":\"{filler}\"}}");
    format!("{{\"publish\":{{\"topic\":\"many\",\"ack\":\"none\",\"data\":{data}}}}}")
}
