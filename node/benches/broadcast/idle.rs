//! Memory of clients that only listen.

use std::time::Duration;

use tokio::time::sleep;

use super::Options;
use super::audience::Audience;
use super::nodes::Nodes;
use super::report::Report;

const SETTLE: Duration = Duration::from_secs(1);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let nodes = Nodes::one(options, "").await?;
    let node = &nodes.nodes[0];
    // What the first ones cost once is not theirs.
    let first = Audience::of(node.ingress, "idle", 100).await?;
    sleep(SETTLE).await;
    let before = node.process.resident_bytes()?;
    let audience = Audience::of(node.ingress, "idle", options.clients as usize).await?;
    sleep(SETTLE).await;
    let each = node.process.resident_bytes()?.saturating_sub(before) / u64::from(options.clients);
    drop((first, audience));
    report.section(&format!("{} clients that only listen", options.clients));
    report.bar(
        "resident memory of each",
        format!("{each} B"),
        "at most 8,192 B",
        each <= 8_192,
    );
    Ok(())
}
