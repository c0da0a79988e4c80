//! Redis frozen and killed while clients are served.

use std::cell::Cell;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use weir_fakes::redis::Redis;

use super::client::Client;
use super::nodes::Nodes;
use super::origin::Origin;
use super::report::{Report, ms};
use super::{Options, median, quantile};

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(3);
const CLIENTS: usize = 16;
const KEPT: usize = 1_000;
const P99_RATIO_MAX: f64 = 1.1;

/// What clients saw in a window.
struct Seen {
    hits: u64,
    hit_p99: Duration,
    misses: u64,
    miss_p99: Duration,
    errors: u64,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let origin = Origin::start().await?;
    let mut redis = Redis::start();
    let section = format!("[redis]\nurl = \"{}\"\n", redis.url());
    let node = Nodes::one(options, &origin, &section).await?;
    let mut load = Load::new(&node).await?;
    load.run().await;
    let (mut healthy, mut frozen) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        healthy.push(load.run().await);
        redis.freeze();
        frozen.push(load.run().await);
        redis.thaw();
    }
    redis.kill();
    let killed = load.run().await;
    redis.start_again();
    let back = load.run().await;
    report.section(&format!(
        "{CLIENTS} clients of what is kept, one of what is not; Redis frozen {ROUNDS} times for {WINDOW:?}, and killed"
    ));
    let all = healthy.iter().chain(&frozen).chain([&killed, &back]);
    let (errors, hits): (u64, u64) =
        all.fold((0, 0), |sum, seen| (sum.0 + seen.errors, sum.1 + seen.hits));
    report.figure("requests answered from memory", hits);
    report.bar("errors", errors, "0", errors == 0);
    let p99 = |seen: &[Seen]| median(seen.iter().map(|seen| seen.hit_p99).collect());
    let (before, after) = (p99(&healthy), p99(&frozen));
    report.figure("p99 of hits while Redis answers, median", ms(before));
    let ratio = after.as_secs_f64() / before.as_secs_f64();
    let shown = format!("{} = {ratio:.2} x", ms(after));
    report.bar(
        "p99 of hits while it is frozen, median",
        shown,
        "at most 1.10 x",
        ratio <= P99_RATIO_MAX,
    );
    report.figure("p99 of hits while it is dead", ms(killed.hit_p99));
    let misses = |seen: &[Seen]| median(seen.iter().map(|seen| seen.miss_p99).collect());
    report.figure(
        "p99 of misses while it answers, median",
        ms(misses(&healthy)),
    );
    report.figure(
        "p99 of misses while it is frozen, median",
        ms(misses(&frozen)),
    );
    let fewest = frozen
        .iter()
        .map(|seen| seen.misses)
        .min()
        .unwrap_or_default();
    report.figure("misses in a frozen window, the fewest", fewest);
    Ok(())
}

struct Load {
    clients: Vec<Client>,
    stranger: Client,
    asked: Cell<u64>,
}

impl Load {
    async fn new(node: &Nodes) -> Result<Self, String> {
        let ingress = node.nodes[0].ingress;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Client::connect(ingress).await?);
        }
        for number in 0..KEPT {
            clients[0].get(&format!("/kept/{number}")).await?;
        }
        Ok(Self {
            clients,
            stranger: Client::connect(ingress).await?,
            asked: Cell::new(0),
        })
    }

    async fn run(&mut self) -> Seen {
        let until = Instant::now() + WINDOW;
        let hitting = self
            .clients
            .iter_mut()
            .enumerate()
            .map(|(number, client)| async move {
                let (mut took, mut errors) = (Vec::new(), 0);
                for turn in 0.. {
                    if Instant::now() > until {
                        break;
                    }
                    match client
                        .get(&format!("/kept/{}", (turn * 7 + number) % KEPT))
                        .await
                    {
                        Ok(answer) if answer.is_hit() => took.push(answer.took),
                        Ok(_) | Err(_) => errors += 1,
                    }
                }
                (took, errors)
            });
        let (stranger, asked) = (&mut self.stranger, &self.asked);
        let missing = async move {
            let (mut took, mut errors) = (Vec::new(), 0);
            while Instant::now() < until {
                asked.set(asked.get() + 1);
                match stranger.get(&format!("/new/{}", asked.get())).await {
                    Ok(answer) => took.push(answer.took),
                    Err(_) => errors += 1,
                }
            }
            (took, errors)
        };
        let (hits, (mut misses, mut errors)) = tokio::join!(join_all(hitting), missing);
        let mut took = Vec::new();
        for (some, failed) in hits {
            took.extend(some);
            errors += failed;
        }
        took.sort_unstable();
        misses.sort_unstable();
        Seen {
            hits: took.len() as u64,
            hit_p99: quantile(&took, 0.99),
            misses: misses.len() as u64,
            miss_p99: quantile(&misses, 0.99),
            errors,
        }
    }
}
