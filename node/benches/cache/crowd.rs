//! Many clients on one cold key, over three nodes.

use std::time::Duration;

use super::many::Many;
use super::nodes::Nodes;
use super::origin::{DELAY, Origin};
use super::report::{Report, ms};
use super::{Options, median, quantile};

const ROUNDS: u32 = 5;
/// Beyond the origin's time.
const P99_MAX: Duration = DELAY.saturating_add(Duration::from_millis(50));
const PRIVATE_MAX: Duration = DELAY.saturating_add(Duration::from_millis(100));
/// Clients of answers that cannot be shared: each is a request to the origin.
const PRIVATE_CLIENTS: usize = 100;

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let origin = Origin::start().await?;
    let mesh = Nodes::mesh(options, &origin).await?;
    let ingresses: Vec<_> = mesh.nodes.iter().map(|node| node.ingress).collect();
    let mut clients = Many::connect(&ingresses, options.clients as usize)?;
    // A node that has answered a client has taken its connection.
    clients.ask("/first")?;
    report.section(&format!(
        "{} clients want one cold key at once on three nodes; the origin takes {DELAY:?}",
        clients.len()
    ));
    let (mut p50, mut p99, mut warm_p99, mut fetches) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let before = origin.asked();
        let path = format!("/slow/{round}");
        let sorted = clients.ask(&path)?;
        fetches = fetches.max(origin.asked() - before);
        p50.push(quantile(&sorted, 0.5));
        p99.push(quantile(&sorted, 0.99));
        let sorted = clients.ask(&path)?;
        warm_p99.push(quantile(&sorted, 0.99));
    }
    report.bar(
        "requests to the origin, at most",
        fetches,
        "1",
        fetches == 1,
    );
    report.figure("p50, median of rounds", ms(median(p50)));
    let p99 = median(p99);
    report.bar(
        "p99, median of rounds",
        ms(p99),
        &format!("at most {} ms", P99_MAX.as_millis()),
        p99 <= P99_MAX,
    );
    let what = "p99 of the same crowd on a key that is kept";
    report.figure(what, ms(median(warm_p99)));
    clients.truncate(PRIVATE_CLIENTS);
    // What cannot be shared is known after the first time.
    clients.ask("/private/1")?;
    let sorted = clients.ask("/private/1")?;
    let p99 = quantile(&sorted, 0.99);
    let what = format!("{} clients of answers for one alone, p99", clients.len());
    report.bar(&what, ms(p99), "at most 300 ms", p99 <= PRIVATE_MAX);
    Ok(())
}
