//! Clients that come back to another node after theirs was killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::nodes::Nodes;
use super::report::{Report, secs};
use super::socket::{Listening, Speaking, connect};
use super::{Options, PATIENCE};

const OPENED_AT_ONCE: usize = 64;
const TOPIC: &str = "resume";
const MESSAGES: u64 = 60;
/// After this many of them a node is killed.
const KILLED_AFTER: u64 = 20;
const SPACING: Duration = Duration::from_millis(100);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut nodes = Nodes::mesh(options, 3, "").await?;
    let addresses: Vec<_> = nodes.nodes.iter().map(|node| node.ingress).collect();
    let (stays, killed) = (addresses[0], addresses[1]);
    let clients = stream::iter((0..options.clients).map(|_| connect(killed, "topic=resume")));
    let clients: Vec<_> = clients
        .buffer_unordered(OPENED_AT_ONCE)
        .try_collect()
        .await?;
    let began = Rc::new(std::cell::Cell::new(None));
    let following = clients
        .into_iter()
        .map(|(listening, speaking)| tokio::task::spawn_local(follow(listening, speaking, stays)));
    let following: Vec<_> = following.collect();
    let (_answers, mut publisher) = connect(addresses[2], "").await?;
    for number in 1..=MESSAGES {
        if number == KILLED_AFTER {
            drop(nodes.nodes.remove(1));
            began.set(Some(Instant::now()));
        }
        publisher.say(&[format!(
            "{{\"publish\":{{\"topic\":\"{TOPIC}\",\"ack\":\"replicated\",\"data\":{{\"n\":{number}}}}}}}"
        )]).await?;
        sleep(SPACING).await;
    }
    let ended = timeout(PATIENCE, join_all(following)).await;
    let ended = ended.map_err(|_| "clients do not get everything in time".to_owned())?;
    let took = began.get().map_or(Duration::ZERO, |at| at.elapsed());
    let (mut lost, mut doubled, mut told) = (0, 0, 0);
    for followed in ended {
        let followed = followed.map_err(|error| error.to_string())??;
        lost += (1..=MESSAGES)
            .filter(|number| !followed.got.contains_key(number))
            .count();
        doubled += followed.got.values().filter(|times| **times > 1).count();
        told += followed.told;
    }
    report.section(&format!(
        "{} clients of a node that is killed, 10 messages/s",
        options.clients
    ));
    report.bar("messages lost", lost, "0", lost == 0);
    report.bar("messages doubled", doubled, "0", doubled == 0);
    report.figure("gaps and new epochs told", told);
    report.figure("from the kill to the last message", secs(took));
    Ok(())
}

struct Followed {
    got: BTreeMap<u64, u32>,
    /// What they were told of messages that are gone.
    told: usize,
}

/// Reads to the last message, on another node when the first one ends.
async fn follow(
    mut listening: Listening,
    mut speaking: Speaking,
    other: SocketAddr,
) -> Result<Followed, String> {
    let mut followed = Followed {
        got: BTreeMap::new(),
        told: 0,
    };
    let mut position = String::new();
    loop {
        let Some(frame) = listening.next().await else {
            let since = match position.is_empty() {
                true => String::new(),
                false => format!("&since={position}"),
            };
            sleep(Duration::from_millis(fastrand::u64(..2_000))).await;
            (listening, speaking) = connect(other, &format!("topic={TOPIC}{since}")).await?;
            continue;
        };
        let told: Value = serde_json::from_slice(frame).unwrap_or_default();
        let batch = &told["batch"];
        let is_lost = !told["gap"].is_null() || told["recovered"]["ok"] == false;
        followed.told += usize::from(is_lost);
        for message in batch["messages"].as_array().into_iter().flatten() {
            let number = message["data"]["n"].as_u64().unwrap_or_default();
            *followed.got.entry(number).or_default() += 1;
            let epoch = batch["epoch"].as_str().unwrap_or_default();
            position = format!("{epoch}-{}", message["offset"]);
        }
        if followed.got.contains_key(&MESSAGES) {
            drop(speaking);
            return Ok(followed);
        }
    }
}
