//! As much as one core gives to 1,000 clients.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Options;
use super::audience::{Audience, message};
use super::nodes::Nodes;
use super::report::Report;
use super::socket::connect;

const CLIENTS: usize = 1_000;
const STEP: Duration = Duration::from_millis(10);
/// Messages that are on their way at most.
const AHEAD_MAX: u64 = 200;

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    report.section("1,000 clients, messages of 128 B, one core");
    let alone = "batch_messages_max = 1\nclient_queue_bytes_max = \"16MiB\"";
    let (rate, cpu) = deliveries_a_second(options, alone).await?;
    report.bar(
        "each in a frame, messages/s to all",
        rate,
        "at least 150,000",
        rate >= 150_000,
    );
    report.figure("  CPU of the node", cpu);
    let tens = "immediate = false\nclient_queue_bytes_max = \"16MiB\"";
    let (rate, cpu) = deliveries_a_second(options, tens).await?;
    report.bar(
        "ten in a frame, messages/s to all",
        rate,
        "at least 1,000,000",
        rate >= 1_000_000,
    );
    report.figure("  CPU of the node", cpu);
    Ok(())
}

/// Publishes as fast as the audience gets it.
async fn deliveries_a_second(options: &Options, keys: &str) -> Result<(u64, String), String> {
    let nodes = Nodes::one(options, keys).await?;
    let node = &nodes.nodes[0];
    let audience = Audience::of(node.ingress, "fan", CLIENTS).await?;
    let (mut answers, mut publisher) = connect(node.ingress, "").await?;
    // Nobody is listened to who does not listen.
    let answers = tokio::spawn(async move { while answers.next().await.is_some() {} });
    let cpu_before = node.process.cpu_ms()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let mut sent = 0;
    while Instant::now() < until {
        let arrived = audience.seen.messages.get() / CLIENTS as u64;
        let room = AHEAD_MAX.saturating_sub(sent - arrived.min(sent)) / 10 * 10;
        let messages: Vec<_> = (0..room).map(|_| message("fan", false)).collect();
        publisher.say(&messages).await?;
        sent += room;
        if room == 0 {
            tokio::task::yield_now().await;
        } else {
            sleep_until(Instant::now() + STEP.min(Duration::from_millis(1))).await;
        }
    }
    audience.has(sent * CLIENTS as u64).await?;
    answers.abort();
    let took = began.elapsed();
    let messages = audience.seen.messages.get();
    let rate = (messages as f64 / took.as_secs_f64()) as u64;
    let cpu_ms = node.process.cpu_ms()? - cpu_before;
    let share = cpu_ms as f64 / took.as_secs_f64() / 10.0;
    Ok((rate, format!("{share:.0} %")))
}
