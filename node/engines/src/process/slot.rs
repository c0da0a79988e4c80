//! The place of one name: whoever starts or stops an engine of it takes turns.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use super::folder::{EngineFolder, Trace};
use super::keeper::{GUARD_MARGIN, Guard, Keeper, Known};
use super::leftover::{self, blocking};
use super::wire::Job;
use super::{News, Settings, check};
use crate::driver::{EngineSpec, Error, Running, State};

/// Orders that may wait for a keeper, which takes each at once.
const ORDERS_MAX: usize = 4;

/// What runs under a name.
pub(super) enum Occupant {
    Nobody,
    /// Of an earlier life of the node.
    Leftover(Trace),
    Engine(Arc<Engine>),
}

/// The place of one name.
pub(super) struct Slot {
    pub(super) occupant: Mutex<Occupant>,
    /// The engine, for those who only look.
    pub(super) shown: watch::Sender<Option<Arc<Engine>>>,
    pub(super) folder: EngineFolder,
}

/// An engine of this life of the node.
pub(super) struct Engine {
    name: String,
    fence: u64,
    labels: std::collections::BTreeMap<String, String>,
    command: Vec<String>,
    started_unix_ms: u64,
    known: watch::Receiver<Known>,
    orders: mpsc::Sender<Duration>,
}

impl Engine {
    /// As others see it.
    pub(super) fn running(&self) -> Running {
        let known = self.known.borrow();
        Running {
            name: self.name.clone(),
            fence: self.fence,
            labels: self.labels.clone(),
            state: match known.code {
                Some(code) if known.is_gone => State::Ended(code),
                _ if known.is_settled => State::Running,
                _ => State::Starting,
            },
            pid: known.pid.filter(|_| !known.is_gone),
            container_id: None,
            image: None,
            command: self.command.clone(),
            image_digest: None,
            network_container_id: None,
            started_unix_ms: self.started_unix_ms,
        }
    }

    /// Waits until this is known; `None` when it is not within `limit`.
    async fn until(&self, limit: Duration, is_so: impl FnMut(&Known) -> bool) -> Option<Known> {
        let mut known = self.known.clone();
        let waited = timeout(limit, known.wait_for(is_so)).await;
        Some(waited.ok()?.ok()?.clone())
    }

    /// Asks the keeper; one that takes no order has come to its end.
    pub(super) fn ask_to_end(&self, grace: Duration) {
        let _ = self.orders.try_send(grace);
    }

    /// # Errors
    /// When it may still run.
    async fn end(&self, grace: Duration) -> Result<(), Error> {
        let limit = grace.saturating_add(GUARD_MARGIN * 4);
        self.ask_to_end(grace);
        match self.until(limit, |known| known.is_gone).await {
            Some(_) => Ok(()),
            None => Err(Error::Late {
                operation: "stop",
                limit,
            }),
        }
    }
}

impl Slot {
    pub(super) fn new(folder: EngineFolder, occupant: Occupant) -> Self {
        Self {
            occupant: Mutex::new(occupant),
            shown: watch::Sender::new(None),
            folder,
        }
    }

    /// As [`crate::driver::Driver::start`].
    pub(super) async fn start(
        &self,
        settings: &Settings,
        spec: EngineSpec,
        news: News,
    ) -> Result<Running, Error> {
        let mut occupant = self.occupant.lock().await;
        if let Some(running) = there(&occupant, &spec)? {
            return Ok(running);
        }
        self.clear(&mut occupant, settings, settings.orphan_grace)
            .await?;
        let engine = Arc::new(self.launch(settings, &spec, news).await?);
        *occupant = Occupant::Engine(engine.clone());
        self.shown.send_replace(Some(engine.clone()));
        if let Err(error) = started(&engine, spec, settings.settle).await {
            self.clear(&mut occupant, settings, Duration::ZERO).await?;
            return Err(error);
        }
        Ok(engine.running())
    }

    async fn launch(
        &self,
        settings: &Settings,
        spec: &EngineSpec,
        news: News,
    ) -> Result<Engine, Error> {
        let folder = self.folder.clone();
        blocking(move || folder.make())
            .await
            .map_err(|source| Error::System {
                operation: "make the engine's folder",
                source,
            })?;
        let guard = Guard::spawn(&settings.weir, &spec.name).map_err(|source| Error::System {
            operation: "start the engine's guard",
            source,
        })?;
        let (order_sender, orders) = mpsc::channel(ORDERS_MAX);
        let (known_sender, known) = watch::channel(Known::default());
        let keeper = Keeper {
            name: spec.name.clone(),
            fence: spec.fence,
            folder: self.folder.clone(),
            settle: settings.settle,
            orphan_grace: settings.orphan_grace,
            orders,
            known: known_sender,
            news,
            lines_lost: 0,
        };
        tokio::spawn(keeper.run(guard, job(settings, spec, &self.folder)));
        Ok(Engine {
            name: spec.name.clone(),
            fence: spec.fence,
            labels: spec.labels.clone(),
            command: spec.command.clone(),
            started_unix_ms: (settings.unix_ms)(),
            known,
            orders: order_sender,
        })
    }

    /// Ends whatever is there and removes what is left of it.
    ///
    /// # Errors
    /// When something may still run.
    pub(super) async fn clear(
        &self,
        occupant: &mut Occupant,
        settings: &Settings,
        grace: Duration,
    ) -> Result<(), Error> {
        match occupant {
            Occupant::Nobody => return Ok(()),
            Occupant::Leftover(trace) => end_leftover(trace, settings.orphan_grace).await?,
            Occupant::Engine(engine) => engine.end(grace).await?,
        }
        *occupant = Occupant::Nobody;
        self.shown.send_replace(None);
        let folder = self.folder.clone();
        // What stays is made empty by the next start.
        let _ = blocking(move || folder.remove()).await;
        Ok(())
    }
}

async fn end_leftover(trace: &Trace, orphan_grace: Duration) -> Result<(), Error> {
    let operation = "end what an earlier life of the node left";
    let limit = orphan_grace.saturating_add(GUARD_MARGIN);
    match leftover::end(trace, limit).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Late { operation, limit }),
        Err(source) => Err(Error::System { operation, source }),
    }
}

/// What there is already of what is asked for.
fn there(occupant: &Occupant, spec: &EngineSpec) -> Result<Option<Running>, Error> {
    let (fence, running) = match occupant {
        Occupant::Nobody => return Ok(None),
        Occupant::Leftover(trace) => (trace.fence, None),
        Occupant::Engine(engine) => (engine.fence, Some(engine.running())),
    };
    if fence > spec.fence {
        return Err(Error::Fenced {
            name: spec.name.clone(),
            ours: spec.fence,
            theirs: fence,
        });
    }
    Ok(running.filter(|one| fence == spec.fence && one.state == State::Running))
}

fn job(settings: &Settings, spec: &EngineSpec, folder: &EngineFolder) -> Job {
    let mut env = spec.env.clone();
    if let Some(path) = std::env::var("PATH")
        .ok()
        .filter(|_| !env.contains_key("PATH"))
    {
        env.insert("PATH".to_owned(), path);
    }
    Job {
        folder: folder.path().to_owned(),
        command: spec.command.clone(),
        env,
        open_files: settings.open_files,
        grace_ms: u64::try_from(settings.orphan_grace.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Waits until it counts as started.
async fn started(engine: &Engine, spec: EngineSpec, settle: Duration) -> Result<(), Error> {
    let limit = spec.start_timeout;
    let over = |known: &Known| known.pid.is_some() || known.errno.is_some() || known.is_gone;
    let late = || Error::Late {
        operation: "start",
        limit,
    };
    let known = engine.until(limit, over).await.ok_or_else(late)?;
    if let Some(errno) = known.errno {
        return Err(not_run(errno, spec));
    }
    // The keeper settles it, or hears of its end.
    let settled = |known: &Known| known.is_settled || known.is_gone;
    let limit = settle.saturating_add(GUARD_MARGIN * 4);
    let known = engine.until(limit, settled).await.ok_or(Error::Late {
        operation: "start",
        limit,
    })?;
    match known.code {
        Some(code) if !known.is_settled => Err(Error::EndedAtOnce {
            code,
            last_line: known.last_line,
        }),
        _ => Ok(()),
    }
}

fn not_run(errno: i32, spec: EngineSpec) -> Error {
    let source = io::Error::from_raw_os_error(errno);
    if source.kind() == io::ErrorKind::NotFound {
        return Error::Missing {
            what: "program",
            name: spec.command.into_iter().next().unwrap_or_default(),
        };
    }
    Error::System {
        operation: "run the engine's program",
        source,
    }
}

/// A folder's name that an engine could have made.
pub(super) fn leftover_in(root: &std::path::Path, name: &str) -> Option<Slot> {
    let folder = EngineFolder::of(root, name);
    let trace = check::is_name(name).then(|| folder.trace()).flatten()?;
    Some(Slot::new(folder, Occupant::Leftover(trace)))
}
