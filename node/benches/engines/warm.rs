//! Look-ups of a port that is known, in process.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

use super::node::Node;
use super::report::Report;
use super::{PATIENCE, mesh};

/// Look-ups that are timed together.
const LOOK_UPS: u32 = 10_000_000;
const LOOK_UP_MAX_NS: f64 = 1_000.0;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn run(report: &mut Report) -> Result<(), String> {
    let fake = FakeGluetun::start(&Listen::default(), Settings::default());
    let fake = fake.map_err(|error| error.to_string())?;
    let text = format!(
        "[node]\nname = \"bench\"\n[vpns.v1]\ncontrol_url = \"http://{}\"\n",
        fake.control()
    );
    let node = Node::start(&text, None, 1).await?;
    let ports = &node.wired.port_cache;
    let deadline = Instant::now() + PATIENCE;
    while ports.warm("v1").is_none() {
        if Instant::now() > deadline {
            return Err("the port is never known".to_owned());
        }
        sleep(LOOK_INTERVAL).await;
    }
    // On the thread of the actors, so that none of them can run meanwhile: whoever needed one would wait for ever.
    let (calls, waits) = (fake.calls(mesh::PORT_ROUTE), waits()?);
    let begun = Instant::now();
    let known = (0..LOOK_UPS).filter(|_| std::hint::black_box(ports.warm("v1")).is_some());
    let known = known.count();
    let took = begun.elapsed();
    let (calls, waited) = (fake.calls(mesh::PORT_ROUTE) - calls, waits_since(waits)?);
    report.section(&format!("{LOOK_UPS} look-ups of a warm port, in process"));
    let ns = took.as_secs_f64() * 1e9 / f64::from(LOOK_UPS);
    report.bar(
        "one look-up",
        format!("{ns:.1} ns"),
        "below 1000 ns",
        ns < LOOK_UP_MAX_NS,
    );
    let all = known == LOOK_UPS as usize;
    report.bar("answered while no actor can run", known, "all", all);
    report.bar(
        "times that the thread waited for anything",
        waited,
        "0",
        waited == 0,
    );
    report.bar("port calls of the control server", calls, "0", calls == 0);
    Ok(())
}

/// How often the kernel has seen this thread wait.
fn waits() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/thread-self/status");
    let status = status.map_err(|error| error.to_string())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let count = line.and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| "the kernel does not count context switches".to_owned())
}

fn waits_since(before: u64) -> Result<u64, String> {
    Ok(waits()? - before)
}
