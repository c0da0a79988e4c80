//! Resident memory while bodies of all sizes come and go.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::Options;
use super::client::Client;
use super::nodes::Nodes;
use super::origin::Origin;
use super::report::Report;

const KEPT_BYTES_MAX: u64 = 256 << 20;
const RESIDENT_BYTES_MAX: u64 = KEPT_BYTES_MAX + KEPT_BYTES_MAX / 4 + (64 << 20);
const CLIENTS: u64 = 8;
/// Objects there are, asked for by Zipf's law; together about ten times what is kept.
const OBJECTS: f64 = 10_000.0;
/// Bodies are as often of any order of magnitude between these.
const BODY_BYTES: (f64, f64) = (100.0, 4_000_000.0);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let origin = Origin::start().await?;
    let section = format!("[cache]\nl1_bytes_max = {KEPT_BYTES_MAX}\n");
    let node = Nodes::one(options, &origin, &section).await?;
    let node = &node.nodes[0];
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    // Each is a task of its own, or one that always has something to read keeps the others from reading.
    let asking: Vec<_> = (0..CLIENTS)
        .map(|seed| tokio::spawn(ask(node.ingress, seed, until)))
        .collect();
    let watching = async {
        let mut most = 0;
        while Instant::now() < until {
            sleep_until(Instant::now() + LOOK_INTERVAL).await;
            most = most.max(node.process.resident_bytes()?);
        }
        Ok::<_, String>(most)
    };
    let (asked, most) = tokio::join!(join_all(asking), watching);
    let asked: Vec<_> = asked
        .into_iter()
        .map(|one| one.map_err(|error| error.to_string())?)
        .collect::<Result<_, _>>()?;
    let (requests, hits) = asked
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    report.section(&format!(
        "{} minutes of bodies of 100 B to 4 MB, 256 MiB of them kept",
        options.minutes
    ));
    report.figure("requests", requests);
    report.figure(
        "of them hits",
        format!("{:.1} %", 100.0 * f64::from(hits) / f64::from(requests)),
    );
    let most = most?;
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    report.bar(
        "most resident memory",
        mib(most),
        "at most 384 MiB",
        most <= RESIDENT_BYTES_MAX,
    );
    report.figure("at the end", mib(node.process.resident_bytes()?));
    Ok(())
}

/// Requests and how many were hits.
async fn ask(
    ingress: std::net::SocketAddr,
    seed: u64,
    until: Instant,
) -> Result<(u32, u32), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = Client::connect(ingress).await?;
    let (mut requests, mut hits) = (0, 0);
    while Instant::now() < until {
        let object = OBJECTS.powf(random.f64()) as u64;
        let bytes = bytes_of(object);
        let answer = client.get(&format!("/bytes/{bytes}/{object}")).await?;
        requests += 1;
        hits += u32::from(answer.is_hit());
    }
    Ok((requests, hits))
}

/// An object has always the same size.
fn bytes_of(object: u64) -> u64 {
    let share = fastrand::Rng::with_seed(object).f64();
    (BODY_BYTES.0 * (BODY_BYTES.1 / BODY_BYTES.0).powf(share)) as u64
}
