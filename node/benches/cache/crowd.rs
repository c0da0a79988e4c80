//! Many clients on one cold key, over three nodes.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::client::Client;
use super::nodes::Nodes;
use super::origin::{DELAY, Origin};
use super::report::{Report, ms};
use super::{Options, median, quantile};

const ROUNDS: u32 = 5;
/// Clients that connect at the same time.
const CONNECTING: usize = 256;
/// What the fetch may add to the origin's time and to what so many clients wait for anyway: they share this machine
/// with the nodes and the origin.
const ADDED_MAX: Duration = Duration::from_millis(50);
const PRIVATE_MAX: Duration = DELAY.saturating_add(Duration::from_millis(100));
/// Clients of answers that cannot be shared: each is a request to the origin.
const PRIVATE_CLIENTS: usize = 100;

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let origin = Origin::start().await?;
    let mesh = Nodes::mesh(options, &origin).await?;
    let mut clients: Vec<Client> = stream::iter(0..options.clients as usize)
        .map(|number| Client::connect(mesh.nodes[number % mesh.nodes.len()].ingress))
        .buffered(CONNECTING)
        .try_collect()
        .await?;
    report.section(&format!(
        "{} clients want one cold key at once on three nodes; the origin takes {DELAY:?}",
        clients.len()
    ));
    let (mut p50, mut p99, mut warm_p99, mut fetches) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let before = origin.asked();
        let path = format!("/slow/{round}");
        let sorted = ask_all(&mut clients, &path).await?;
        fetches = fetches.max(origin.asked() - before);
        p50.push(quantile(&sorted, 0.5));
        p99.push(quantile(&sorted, 0.99));
        // What the same crowd waits for when there is nothing to wait for.
        let sorted = ask_all(&mut clients, &path).await?;
        warm_p99.push(quantile(&sorted, 0.99));
    }
    report.bar(
        "requests to the origin, at most",
        fetches,
        "1",
        fetches == 1,
    );
    report.figure("p50, median of rounds", ms(median(p50)));
    let (p99, warm_p99) = (median(p99), median(warm_p99));
    report.figure("p99 of the same crowd on a key that is kept", ms(warm_p99));
    report.figure("p99, median of rounds", ms(p99));
    let (added, added_max) = (p99.saturating_sub(warm_p99), DELAY + ADDED_MAX);
    report.bar(
        "added by what nobody has yet, the origin's time and 50 ms",
        ms(added),
        &format!("at most {} ms", added_max.as_millis()),
        added <= added_max,
    );
    clients.truncate(PRIVATE_CLIENTS);
    // What cannot be shared is known after the first time.
    ask_all(&mut clients, "/private/1").await?;
    let sorted = ask_all(&mut clients, "/private/1").await?;
    let p99 = quantile(&sorted, 0.99);
    let what = format!("{} clients of answers for one alone, p99", clients.len());
    report.bar(&what, ms(p99), "at most 300 ms", p99 <= PRIVATE_MAX);
    Ok(())
}

/// How long each waits, in order. Each is a task of its own: one for all would look at everybody again and again.
async fn ask_all(clients: &mut Vec<Client>, path: &str) -> Result<Vec<Duration>, String> {
    let asking: Vec<_> = std::mem::take(clients)
        .into_iter()
        .map(|mut client| {
            let path = path.to_owned();
            tokio::spawn(async move { (client.get(&path).await, client) })
        })
        .collect();
    let mut took = Vec::with_capacity(asking.len());
    for asked in asking {
        let (answer, client) = asked.await.map_err(|error| error.to_string())?;
        took.push(answer?.took);
        clients.push(client);
    }
    took.sort_unstable();
    Ok(took)
}
