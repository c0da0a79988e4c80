//! Exactly ten messages in a frame.

use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::audience::{Audience, message};
use super::nodes::Nodes;
use super::report::{Report, ms};
use super::socket::connect;

const CLIENTS: u64 = 100;
const MESSAGES: u64 = 100;

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let nodes = Nodes::one(options, "immediate = false").await?;
    let ingress = nodes.nodes[0].ingress;
    let audience = Audience::of(ingress, "fixed", CLIENTS as usize).await?;
    let (_answers, mut publisher) = connect(ingress, "").await?;
    let messages: Vec<_> = (0..MESSAGES).map(|_| message("fixed", false)).collect();
    let began = Instant::now();
    publisher.say(&messages).await?;
    audience.has(CLIENTS * MESSAGES).await?;
    let took = audience.seen.last_at.get().unwrap_or(began) - began;
    report.section("100 clients, 100 messages at once, fixed batches of 10");
    let frames = audience.seen.frames.get();
    report.bar(
        "frames in all",
        frames,
        "1,000",
        frames == CLIENTS * MESSAGES / 10,
    );
    report.bar(
        "all of them after the first publish",
        ms(took),
        "at most 50 ms",
        took <= Duration::from_millis(50),
    );
    Ok(())
}
