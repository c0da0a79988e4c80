//! What it costs a message that its subscribers are on other nodes than its publisher.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Options;
use super::audience::{Audience, message, quantile};
use super::nodes::Nodes;
use super::report::{Report, ms};
use super::socket::connect;

/// Nodes number about as many of them each, so a message takes one hop or two.
const TOPICS: usize = 30;
const CLIENTS: usize = 20;
const MESSAGES_A_SECOND: u32 = 200;
/// Bounds the samples, whatever is asked for.
const SECONDS_MAX: u64 = 30;
/// Untimed, to each topic: those that follow find every copy in step.
const FIRST: u32 = 5;
const ADDED_MAX: Duration = Duration::from_millis(5);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    report.section(&format!(
        "{CLIENTS} clients on each node, {TOPICS} topics, {MESSAGES_A_SECOND} messages/s published on one node"
    ));
    let alone = {
        let nodes = Nodes::one(options, "").await?;
        let ingress = nodes.nodes[0].ingress;
        latencies(options, ingress, &[ingress]).await?
    };
    let nodes = Nodes::mesh(options, 3, "").await?;
    let addresses: Vec<_> = nodes.nodes.iter().map(|node| node.ingress).collect();
    let mut mesh = latencies(options, addresses[0], &addresses)
        .await?
        .into_iter();
    let mut alone = alone.into_iter().next().unwrap_or_default();
    let mut same = mesh.next().unwrap_or_default();
    let mut other: Vec<_> = mesh.flatten().collect();
    for (what, samples) in [
        ("one node alone", &mut alone),
        ("three nodes, to clients of the same node", &mut same),
        ("three nodes, to clients of the two others", &mut other),
    ] {
        report.figure(&format!("p50, {what}"), ms(quantile(samples, 0.5)));
        report.figure(&format!("p99, {what}"), ms(quantile(samples, 0.99)));
    }
    let added = quantile(&mut other, 0.99).saturating_sub(quantile(&mut alone, 0.99));
    report.bar(
        "added by another node, p99",
        ms(added),
        "at most 5 ms",
        added <= ADDED_MAX,
    );
    Ok(())
}

/// Of every message to every client of each of these nodes, from publish to read.
async fn latencies(
    options: &Options,
    publishes_at: SocketAddr,
    listens_at: &[SocketAddr],
) -> Result<Vec<Vec<Duration>>, String> {
    let topics: Vec<_> = (0..TOPICS)
        .map(|number| format!("cross.{number}"))
        .collect();
    let asked = topics.join("&topic=");
    let mut audiences = Vec::new();
    for node in listens_at {
        audiences.push(Audience::of(*node, &asked, CLIENTS).await?);
    }
    let (_answers, mut publisher) = connect(publishes_at, "").await?;
    let seconds = u32::try_from(options.seconds.min(SECONDS_MAX)).unwrap_or(5);
    let first = FIRST * TOPICS as u32;
    let count = first + seconds * MESSAGES_A_SECOND;
    let mut next = Instant::now();
    for (number, topic) in (0..count).zip(topics.iter().cycle()) {
        publisher.say(&[message(topic, number >= first)]).await?;
        next += Duration::from_secs(1) / MESSAGES_A_SECOND;
        sleep_until(next).await;
    }
    let mut all = Vec::new();
    for audience in &audiences {
        audience.has(u64::from(count) * CLIENTS as u64).await?;
        all.push(audience.seen.latencies.take());
    }
    Ok(all)
}
