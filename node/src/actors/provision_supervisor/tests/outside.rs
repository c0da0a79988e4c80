//! The outside as tests script it: a driver and a network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, pending};
use futures::stream::{self, BoxStream};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use weir_engines::containers::{Container, Containers, Health};
use weir_engines::driver::{Driver, Ended, EngineSpec, Error, Network, Running, State};

use super::way::Way;
use crate::ports::net::{BoxedStream, Endpoint, Net};

/// How one start goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It runs after this time.
    Runs(Duration),
    /// It fails after this time.
    Fails(Duration),
    /// Nothing comes of it.
    Hangs,
    /// Whatever runs engines is away.
    Away,
}

/// A start that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) fence: u64,
    pub(super) at: Instant,
}

#[derive(Debug)]
struct Machine {
    engines: BTreeMap<String, Running>,
    begun: Vec<Begun>,
    stopped: Vec<(String, Instant)>,
    lists: usize,
    script: VecDeque<Start>,
    otherwise: Start,
    /// Names of engines whose probes fail.
    sick: BTreeSet<String>,
    /// Names of engines whose image is out of date.
    drifted: BTreeSet<String>,
    /// Whatever runs engines does not answer.
    is_away: bool,
    /// Services whose image is missing.
    without_image: BTreeSet<String>,
    /// Containers that engines may join, by name.
    containers: BTreeMap<String, Container>,
}

/// A machine that runs engines, whatever becomes of the nodes that have them started.
#[derive(Debug)]
pub(super) struct Scripted {
    machine: watch::Sender<Machine>,
    ends: broadcast::Sender<Ended>,
}

impl Scripted {
    pub(super) fn new() -> Arc<Self> {
        let machine = Machine {
            engines: BTreeMap::new(),
            begun: Vec::new(),
            stopped: Vec::new(),
            lists: 0,
            script: VecDeque::new(),
            otherwise: Start::Runs(Duration::from_millis(100)),
            sick: BTreeSet::new(),
            drifted: BTreeSet::new(),
            is_away: false,
            without_image: BTreeSet::new(),
            containers: BTreeMap::new(),
        };
        Arc::new(Self {
            machine: watch::Sender::new(machine),
            ends: broadcast::Sender::new(4_096),
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut changed = None;
        self.machine
            .send_modify(|machine| changed = Some(change(machine)));
        changed.unwrap()
    }

    /// How starts go from now on.
    pub(super) fn starts(&self, start: Start) {
        self.change(|machine| machine.otherwise = start);
    }

    /// How the next starts go.
    pub(super) fn next_starts(&self, starts: impl IntoIterator<Item = Start>) {
        self.change(|machine| machine.script.extend(starts));
    }

    /// Whether this engine answers probes.
    pub(super) fn is_sick(&self, engine: &str, is_sick: bool) {
        let name = super::super::spec::name_of(engine);
        self.change(|machine| match is_sick {
            true => machine.sick.insert(name),
            false => machine.sick.remove(&name),
        });
    }

    /// The name of this engine's image means another image from now on.
    pub(super) fn drifts(&self, engine: &str) {
        let name = super::super::spec::name_of(engine);
        self.change(|machine| machine.drifted.insert(name));
    }

    /// Whether whatever runs engines tells what it runs.
    pub(super) fn is_away(&self, is_away: bool) {
        self.change(|machine| machine.is_away = is_away);
    }

    /// No engine of this service can be started.
    pub(super) fn has_no_image_of(&self, service: &str) {
        self.change(|machine| machine.without_image.insert(service.to_owned()));
    }

    /// This container is there, as of this start.
    pub(super) fn has_container(&self, name: &str, id: &str, started_unix_ms: u64) {
        let container = Container {
            id: id.to_owned(),
            started_unix_ms,
            running: true,
            health: Health::None,
        };
        self.change(|machine| machine.containers.insert(name.to_owned(), container));
    }

    /// An engine ends by itself.
    pub(super) fn ends(&self, engine: &str) {
        let name = super::super::spec::name_of(engine);
        let fence = self.change(|machine| {
            let running = machine.engines.get_mut(&name).unwrap();
            running.state = State::Ended(7);
            running.fence
        });
        let code = Some(7);
        let _ = self.ends.send(Ended { name, fence, code });
    }

    /// The machine forgets all it ran, as when its processes ended with their node.
    pub(super) fn everything_ends(&self) {
        self.change(|machine| machine.engines.clear());
    }

    /// Engines that run, by id.
    pub(super) fn running(&self) -> Vec<String> {
        let machine = self.machine.borrow();
        let runs = machine
            .engines
            .values()
            .filter(|engine| engine.state == State::Running);
        runs.map(|engine| super::super::spec::id_of(&engine.name).to_owned())
            .collect()
    }

    /// The most engines that ran at a time, from now until it is asked.
    pub(super) fn most_from_now_on(self: &Arc<Self>) -> Most {
        let mut changes = self.machine.subscribe();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (machine, mut most) = (Arc::clone(self), self.running().len());
        let most = tokio::spawn(async move {
            while let Ok(()) = tokio::select! {
                biased;
                changed = changes.changed() => changed.map_err(drop),
                _ = &mut stopped => Err(()),
            } {
                most = most.max(machine.running().len());
            }
            most
        });
        Most { stop, most }
    }

    /// Engines that run or have left something.
    pub(super) fn left(&self) -> usize {
        self.machine.borrow().engines.len()
    }

    /// The label of an engine.
    pub(super) fn label(&self, engine: &str, label: &str) -> Option<String> {
        let name = super::super::spec::name_of(engine);
        let machine = self.machine.borrow();
        machine.engines.get(&name)?.labels.get(label).cloned()
    }

    /// The program and arguments of an engine.
    pub(super) fn command(&self, engine: &str) -> Vec<String> {
        let name = super::super::spec::name_of(engine);
        let machine = self.machine.borrow();
        let running = machine.engines.get(&name);
        running.map_or_else(Vec::new, |running| running.command.clone())
    }

    /// Engines that run were started by a version that did not label them so.
    pub(super) fn were_not_labelled(&self, label: &str) {
        self.change(|machine| {
            let engines = machine.engines.values_mut();
            engines.for_each(|engine| drop(engine.labels.remove(label)));
        });
    }

    /// Starts that were asked for.
    pub(super) fn begun(&self) -> Vec<Begun> {
        self.machine.borrow().begun.clone()
    }

    /// When engines were stopped, by id.
    pub(super) fn stopped(&self) -> Vec<(String, Instant)> {
        self.machine.borrow().stopped.clone()
    }

    /// How often what runs was asked for.
    pub(super) fn lists(&self) -> usize {
        self.machine.borrow().lists
    }

    async fn run(&self, spec: EngineSpec) -> Result<Running, Error> {
        let has_no_image = |machine: &Machine| {
            let service = spec.labels.get("weir.service");
            service.is_some_and(|service| machine.without_image.contains(service))
        };
        let start = self.change(|machine| {
            let (fence, at) = (spec.fence, Instant::now());
            machine.begun.push(Begun { fence, at });
            if has_no_image(machine) {
                return Start::Fails(Duration::ZERO);
            }
            machine.script.pop_front().unwrap_or(machine.otherwise)
        });
        match start {
            Start::Hangs => pending().await,
            Start::Away => Err(away()),
            Start::Runs(after) => {
                sleep(after).await;
                self.change(|machine| machine.take(spec))
            }
            Start::Fails(after) => {
                sleep(after).await;
                Err(Error::EndedAtOnce {
                    code: 1,
                    last_line: "as the test wished".to_owned(),
                })
            }
        }
    }

    fn remove(&self, name: &str, fence: u64) -> Result<(), Error> {
        let removed = self.change(|machine| {
            match machine.engines.get(name).map(|there| there.fence) {
                None => return Ok(None),
                Some(theirs) if theirs > fence => return Err(fenced(name, fence, theirs)),
                Some(_) => {}
            }
            let id = super::super::spec::id_of(name).to_owned();
            machine.stopped.push((id, Instant::now()));
            // The next one of that name is another one.
            machine.sick.remove(name);
            Ok(machine.engines.remove(name))
        })?;
        if let Some(Running { name, fence, .. }) = removed {
            let code = Some(0);
            let _ = self.ends.send(Ended { name, fence, code });
        }
        Ok(())
    }
}

/// See [`Scripted::most_from_now_on`].
pub(super) struct Most {
    stop: oneshot::Sender<()>,
    most: JoinHandle<usize>,
}

impl Most {
    pub(super) async fn told(self) -> usize {
        self.stop.send(()).unwrap();
        self.most.await.unwrap()
    }
}

impl Machine {
    fn take(&mut self, spec: EngineSpec) -> Result<Running, Error> {
        if let Some(there) = self.engines.get(&spec.name) {
            if there.fence > spec.fence {
                return Err(fenced(&spec.name, spec.fence, there.fence));
            }
            if there.fence == spec.fence {
                return Ok(there.clone());
            }
        }
        let joined = match &spec.network {
            Network::Container(name) => self.containers.get(name),
            _ => None,
        };
        let running = Running {
            name: spec.name.clone(),
            fence: spec.fence,
            labels: spec.labels,
            state: State::Running,
            pid: Some(1),
            container_id: None,
            image: Some(spec.image).filter(|image| !image.is_empty()),
            command: spec.command,
            image_digest: None,
            network_container_id: joined.map(|container| container.id.clone()),
            // After whatever it joined.
            started_unix_ms: joined.map_or(0, |container| container.started_unix_ms + 1),
        };
        self.engines.insert(spec.name, running.clone());
        Ok(running)
    }
}

fn away() -> Error {
    Error::Unreachable {
        what: "the daemon".to_owned(),
        source: io::ErrorKind::NotFound.into(),
    }
}

fn fenced(name: &str, ours: u64, theirs: u64) -> Error {
    Error::Fenced {
        name: name.to_owned(),
        ours,
        theirs,
    }
}

/// The machine as one life of a node reaches it.
pub(super) struct Reached {
    pub(super) machine: Arc<Scripted>,
    pub(super) way: Way,
}

impl Driver for Reached {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        Box::pin(self.way.pass(self.machine.run(spec)))
    }

    fn stop(&self, name: &str, fence: u64, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let name = name.to_owned();
        Box::pin(
            self.way
                .pass(async move { self.machine.remove(&name, fence) }),
        )
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        Box::pin(self.way.pass_unless_cut(async {
            self.machine.change(|machine| {
                machine.lists += 1;
                match machine.is_away {
                    true => Err(away()),
                    false => Ok(machine.engines.values().cloned().collect()),
                }
            })
        }))
    }

    fn logs(&self, name: &str, _: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(std::future::ready(Err(Error::Unknown(name.to_owned()))))
    }

    fn has_drifted(&self, name: &str) -> BoxFuture<'_, Result<bool, Error>> {
        let has_drifted = self.machine.machine.borrow().drifted.contains(name);
        Box::pin(self.way.pass(std::future::ready(Ok(has_drifted))))
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        let heard = self.machine.ends.subscribe();
        stream::unfold(heard, |mut heard| async {
            let ended = heard.recv().await.ok()?;
            Some((ended, heard))
        })
        .boxed()
    }
}

impl Containers for Scripted {
    fn look(&self, name: &str) -> BoxFuture<'_, Result<Option<Container>, Error>> {
        let found = self.machine.borrow().containers.get(name).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn restart(&self, _: &str, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A network in which an engine answers while it runs and is well.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) machine: Arc<Scripted>,
    pub(super) way: Way,
}

impl Net for Wires {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        let port = to.literal().unwrap().port().to_string();
        Box::pin(self.way.pass(async move {
            let machine = self.machine.machine.borrow();
            let mut there = machine.engines.values().filter(|engine| {
                engine.labels.get("weir.port") == Some(&port) && engine.state == State::Running
            });
            match there.any(|engine| !machine.sick.contains(&engine.name)) {
                true => Ok(Box::new(tokio::io::duplex(64).0) as BoxedStream),
                false => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        }))
    }
}
