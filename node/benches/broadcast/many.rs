//! Latency with very many clients, and with some that do not read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Options;
use super::audience::{Audience, message, quantile};
use super::nodes::{Node, Nodes};
use super::report::{Report, ms};
use super::socket::connect;

const MESSAGES_A_SECOND: u32 = 20;
/// Messages that fill what the kernel and the node hold for a client that does not read: 2 MiB of a topic of their own.
const FLOOD: usize = 500;
const FLOOD_BYTES: usize = 4 << 10;
/// Nobody is cut while it is measured.
const KEYS: &str = "client_queue_age_max = \"120s\"";

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let nodes = Nodes::one(options, KEYS).await?;
    let node = &nodes.nodes[0];
    let clients = options.clients as usize;
    report.section(&format!(
        "{clients} clients at 20 messages/s; a core for the node, one for all clients"
    ));
    let p99 = p99(options, node, clients).await?;
    report.bar(
        "p99 from publish to read",
        ms(p99),
        "at most 50 ms",
        p99 <= Duration::from_millis(50),
    );

    let clients = clients / 10;
    report.section(&format!(
        "{clients} clients, then a tenth more that does not read"
    ));
    let before = self::p99(options, node, clients).await?;
    report.figure("p99 without them", ms(before));
    let mut frozen = Vec::new();
    for _ in 0..clients / 10 {
        // It is held and never read.
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
    let with = self::p99(options, node, clients).await?;
    let bar = before.mul_f64(1.1) + Duration::from_micros(200);
    report.bar("p99 with them", ms(with), "10 % more at most", with <= bar);
    Ok(())
}

async fn p99(options: &Options, node: &Node, clients: usize) -> Result<Duration, String> {
    let audience = Audience::of(node.ingress, "many", clients).await?;
    let (_answers, mut publisher) = connect(node.ingress, "").await?;
    let messages = u32::try_from(options.seconds).unwrap_or(5) * MESSAGES_A_SECOND;
    let mut next = Instant::now();
    for _ in 0..messages {
        publisher.say(&[message("many", true)]).await?;
        next += Duration::from_secs(1) / MESSAGES_A_SECOND;
        sleep_until(next).await;
    }
    audience.has(u64::from(messages) * clients as u64).await?;
    let mut latencies = audience.seen.latencies.take();
    Ok(quantile(&mut latencies, 0.99))
}
