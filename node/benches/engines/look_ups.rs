//! Look-ups of one VPN's port on three nodes, as many a second however long they take.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_node::config::PortCacheSettings;
use weir_proto::node::v1::GetPortRequest;
use weir_proto::node::v1::port_cache_client::PortCacheClient;

use super::mesh::{HEALTH_ROUTES, Mesh, MeshNode, PORT_ROUTE};
use super::process::cpu_ms_of;
use super::report::{Report, ms};
use super::{Options, PATIENCE};

const NODES: usize = 3;
/// Connections to each node.
const CONNECTIONS: usize = 2;
/// Look-ups that are out at a time; one more is not sent, and counts as failed.
const IN_FLIGHT_MAX: usize = 4_096;
/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(1);
/// Look-ups on each node before it counts.
const FIRST_LOOK_UPS: u64 = 200;
/// The port that the emulator forwards.
const PORT: u32 = 5_914;

/// What came of look-ups.
#[derive(Debug, Default)]
struct Tally {
    in_flight: usize,
    took: Vec<Duration>,
    failed: u64,
    unsent: u64,
    wrong: u64,
    why: Option<String>,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let fake = FakeGluetun::start(&Listen::default(), Settings::default());
    let fake = fake.map_err(|error| error.to_string())?;
    let mesh = Mesh::start(options, NODES, &fake).await?;
    let clients = clients(&mesh)?;
    let load = Load {
        clients: &clients,
        rate: options.rate,
    };
    load.send(FIRST_LOOK_UPS * NODES as u64).await?;
    let (before, cpu, own_cpu) = (Calls::of(&fake), cpu_ms(&mesh)?, own_cpu_ms()?);
    let begun = Instant::now();
    let total = options.rate * options.seconds;
    let mut tally = load.send(total).await?;
    let took = begun.elapsed();
    let calls = Calls::of(&fake);
    let (cpu, own_cpu) = (cpu_ms(&mesh)? - cpu, own_cpu_ms()? - own_cpu);
    report.section(&format!(
        "{} port look-ups a second for {} s over {NODES} nodes, by gRPC",
        options.rate, options.seconds
    ));
    tell(&mut tally, total, took, report);
    tell_calls(&before, &calls, options, report);
    let us = |cpu_ms: u64| format!("{:.1} us", ratio(cpu_ms * 1_000, total));
    report.figure("processor time of a look-up, all nodes", us(cpu));
    report.figure("  and of whoever looks up", us(own_cpu));
    Ok(())
}

fn tell(tally: &mut Tally, total: u64, took: Duration, report: &mut Report) {
    tally.took.sort_unstable();
    let done = tally.took.len() as u64;
    report.bar("look-ups that got the port", done, "all", done == total);
    let rate = done as f64 / took.as_secs_f64();
    let late =
        took > Duration::from_secs(1) + Duration::from_secs_f64(total as f64 / rate.max(1.0));
    report.figure("look-ups a second", format!("{rate:.0}"));
    let errors = tally.failed + tally.wrong + tally.unsent;
    report.bar(
        "errors, other ports, not sent in time",
        errors,
        "0",
        errors == 0 && !late,
    );
    if let Some(why) = &tally.why {
        report.figure("why one failed", why);
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let at = ((tally.took.len() as f64 * share).ceil() as usize).saturating_sub(1);
        let took = tally.took.get(at).copied().unwrap_or_default();
        report.figure(
            &format!("from when it was due to the answer, {name}"),
            ms(took),
        );
    }
}

/// What a control server was called for so far.
struct Calls {
    port: u64,
    health: u64,
}

impl Calls {
    fn of(fake: &FakeGluetun) -> Self {
        Self {
            port: fake.calls(PORT_ROUTE),
            health: HEALTH_ROUTES.map(|route| fake.calls(route)).iter().sum(),
        }
    }
}

fn tell_calls(before: &Calls, now: &Calls, options: &Options, report: &mut Report) {
    let mut tell = |what: &str, calls: u64, every: Duration| {
        let most = options.seconds / every.as_secs() + 1;
        let bar = format!("one in {} s: at most {most}", every.as_secs());
        report.bar(what, calls, &bar, calls <= most);
    };
    let limits = PortCacheSettings::default();
    // An answer is asked for again before its time is over, and no later than the watch wants.
    let asked_every = (limits.ttl - limits.refresh_lead).min(limits.watch_interval);
    let calls = now.port - before.port;
    tell("port calls of the control server", calls, asked_every);
    let calls = now.health - before.health;
    tell("  and health calls", calls, limits.health_interval);
}

/// Look-ups at a rate.
struct Load<'a> {
    clients: &'a [PortCacheClient<Channel>],
    /// A second.
    rate: u64,
}

impl Load<'_> {
    /// Sends so many, each when it is due, and waits for them.
    async fn send(&self, total: u64) -> Result<Tally, String> {
        let tally = Rc::new(RefCell::new(Tally::default()));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (begun, mut sent) = (Instant::now(), 0);
        let due_at = |number: u64| begun + Duration::from_nanos(number * 1_000_000_000 / self.rate);
        while sent < total {
            ticks.tick().await;
            let now = Instant::now();
            while sent < total && due_at(sent) <= now {
                self.look_up(sent, due_at(sent), &tally);
                sent += 1;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while tally.borrow().in_flight > 0 {
            if Instant::now() > deadline {
                return Err("look-ups never end".to_owned());
            }
            sleep(TICK).await;
        }
        Ok(tally.take())
    }

    fn look_up(&self, number: u64, due: Instant, tally: &Rc<RefCell<Tally>>) {
        if tally.borrow().in_flight >= IN_FLIGHT_MAX {
            tally.borrow_mut().unsent += 1;
            return;
        }
        tally.borrow_mut().in_flight += 1;
        let at = usize::try_from(number).unwrap_or_default() % self.clients.len();
        let (mut client, tally) = (self.clients[at].clone(), Rc::clone(tally));
        tokio::task::spawn_local(async move {
            let request = GetPortRequest {
                vpn: "v1".to_owned(),
            };
            let answer = client.get_port(request).await;
            let mut tally = tally.borrow_mut();
            tally.in_flight -= 1;
            match answer {
                Ok(port) if port.get_ref().port == PORT => tally.took.push(due.elapsed()),
                Ok(_) => tally.wrong += 1,
                Err(status) => {
                    tally.failed += 1;
                    tally.why.get_or_insert_with(|| status.message().to_owned());
                }
            }
        });
    }
}

/// Connections in turns: the first of each node, then the second.
fn clients(mesh: &Mesh) -> Result<Vec<PortCacheClient<Channel>>, String> {
    let nodes = (0..CONNECTIONS).flat_map(|_| &mesh.nodes);
    nodes
        .map(|node| Ok(PortCacheClient::new(node.channel()?)))
        .collect()
}

fn cpu_ms(mesh: &Mesh) -> Result<u64, String> {
    mesh.nodes.iter().map(MeshNode::cpu_ms).sum()
}

fn own_cpu_ms() -> Result<u64, String> {
    cpu_ms_of("/proc/self/stat")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ratio(all: u64, of: u64) -> f64 {
    all as f64 / of.max(1) as f64
}
