//! Purges by tag that wait until they are in force on three nodes.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::transport::Channel;
use weir_proto::node::v1::PurgeRequest;
use weir_proto::node::v1::cache_client::CacheClient;
use weir_proto::node::v1::purge_request::Scope;

use super::client::Client;
use super::nodes::Nodes;
use super::origin::Origin;
use super::report::{Report, ms};
use super::{Options, quantile};

const SECONDS: u32 = 10;
const TAGS: u32 = 100;
const P99_MAX: Duration = Duration::from_millis(50);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let origin = Origin::start().await?;
    let mesh = Nodes::mesh(options, &origin).await?;
    fill(&mesh).await?;
    let caller = CacheClient::new(mesh.nodes[0].channel()?);
    let all = options.purges * SECONDS;
    let mut pace = interval(Duration::from_secs(1) / options.purges);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut purges = Vec::new();
    for number in 0..all {
        let due = pace.tick().await;
        purges.push(tokio::spawn(purge(caller.clone(), number % TAGS, due)));
    }
    let mut took = Vec::new();
    let mut unheard = 0;
    for purged in join_all(purges).await {
        let (acked_by_all, after) = purged.map_err(|error| error.to_string())??;
        unheard += u32::from(!acked_by_all);
        took.push(after);
    }
    took.sort_unstable();
    report.section(&format!(
        "{all} purges by tag at {} a second, each waits for all of three nodes",
        options.purges
    ));
    report.bar("not acknowledged by all", unheard, "0", unheard == 0);
    report.figure("p50 from when it was due", ms(quantile(&took, 0.5)));
    let p99 = quantile(&took, 0.99);
    report.bar(
        "p99 from when it was due",
        ms(p99),
        "at most 50 ms",
        p99 <= P99_MAX,
    );
    let old = old_answers(&mesh).await?;
    report.bar("answers from before their purge", old, "0", old == 0);
    Ok(())
}

/// Every node keeps an answer with each tag.
async fn fill(mesh: &Nodes) -> Result<(), String> {
    for node in &mesh.nodes {
        let mut client = Client::connect(node.ingress).await?;
        for tag in 0..TAGS {
            client.get(&format!("/tag/t{tag}/{tag}")).await?;
        }
    }
    Ok(())
}

async fn purge(
    mut caller: CacheClient<Channel>,
    tag: u32,
    due: Instant,
) -> Result<(bool, Duration), String> {
    let request = PurgeRequest {
        scope: Some(Scope::Tag(format!("t{tag}"))),
        wait: "all".to_owned(),
        wait_ms: 10_000,
        ..PurgeRequest::default()
    };
    let answer = caller.purge(request).await;
    let answer = answer
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    Ok((
        answer.acked == answer.total && answer.total == 3,
        due.elapsed(),
    ))
}

/// What nodes answer from memory though all of it was purged.
async fn old_answers(mesh: &Nodes) -> Result<usize, String> {
    let mut old = 0;
    // One node of a mesh asks the origin anew, and then all have the new answer: only the first look tells.
    let mut client = Client::connect(mesh.nodes[1].ingress).await?;
    for tag in 0..TAGS {
        let answer = client.get(&format!("/tag/t{tag}/{tag}")).await?;
        old += usize::from(answer.is_hit());
    }
    Ok(old)
}
