//! Engines as processes of this machine.
//!
//! Each engine has a guard: a process of its own (`weir engine-guard`), so that it ends whatever becomes of the node.
//!
//! ```text
//! node ──jobs, orders──► guard ──► engine-exec ══becomes══► program ──► what it starts
//!      ◄──reports──────     │  ◄──────── output ───────────────┘
//!                           └──► log, log.1
//! ```
//!
//! | who is killed | what ends the engine |
//! |---|---|
//! | the node | the guard's standard input closes: SIGTERM to the group, after the grace SIGKILL to all of it |
//! | the guard | the kernel kills the program (parent-death signal), the node whatever else is in the guard's session |
//! | both | the kernel kills the program; the node's next life finds the rest by the trace in the engine's folder |
//!
//! The guard adopts every descendant that loses its parent, so it ends those that left the group too, and leaves no
//! zombie. Only one that made itself a session of its own survives, and only if the guard is killed.

mod check;
mod exec;
mod folder;
mod guard;
mod keeper;
mod leftover;
mod proc;
mod slot;
mod wire;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::{Mutex, broadcast};
use tokio_stream::wrappers::BroadcastStream;

use self::folder::EngineFolder;
use self::leftover::blocking;
use self::slot::{Occupant, Slot, leftover_in};
use crate::driver::{Driver, Ended, EngineSpec, Error, LinesLost, Running};

pub use exec::exec;
pub use guard::guard;

/// Names that may be taken at once, ended engines included until they are stopped.
pub const ENGINES_MAX: usize = 1_024;
/// Ends that a reader may be behind.
const ENDS_MAX: usize = 1_024;
/// The longest grace; a longer one is cut.
const GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const LOCK: &str = ".lock";

/// How processes are run.
#[derive(Clone)]
pub struct Settings {
    /// The binary `weir`, of this very version: it guards each engine. `/proc/self/exe` is right in a node, even after
    /// the file has been replaced.
    pub weir: PathBuf,
    /// Below it each engine has a folder by its name, for its output and its trace. One driver at a time has it.
    pub folder: PathBuf,
    /// Between SIGTERM and SIGKILL when the node is gone or another fence replaces the engine.
    pub orphan_grace: Duration,
    /// A program that ends within this time after it was run has not started.
    pub settle: Duration,
    /// Files that a program may have open (the soft limit of RLIMIT_NOFILE); `None` for as many as the node: programs
    /// that use select(2) break with more than 1024.
    pub open_files: Option<u64>,
    /// Milliseconds since 1970.
    pub unix_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Runs engines as processes. Clones are one driver; when the last one is dropped, every engine ends.
///
/// An engine that ended by itself stays listed, and its output readable, until its name is stopped or started again.
#[derive(Clone)]
pub struct ProcessDriver(Arc<Inner>);

/// Where engines that end and lines that are lost are told.
#[derive(Clone)]
struct News {
    ends: broadcast::Sender<Ended>,
    lost: broadcast::Sender<LinesLost>,
}

struct Inner {
    settings: Settings,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    news: News,
    /// Held as long as this is.
    _lock: File,
}

impl ProcessDriver {
    /// Takes the folder, and begins to end what an earlier life of the node left running; a start of such a name waits
    /// for that. Must be called in a runtime.
    ///
    /// # Errors
    /// [`Error::Refused`] when another driver has the folder; [`Error::System`] when it cannot be made or read.
    pub fn open(mut settings: Settings) -> Result<Self, Error> {
        settings.orphan_grace = settings.orphan_grace.min(GRACE_MAX);
        let operation = "open the engines' folder";
        let failed = |source| Error::System { operation, source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&settings.folder)
            .map_err(failed)?;
        let lock = lock(&settings.folder)?;
        let slots = leftovers(&settings.folder).map_err(failed)?;
        for slot in slots.values() {
            let (slot, settings) = (slot.clone(), settings.clone());
            tokio::spawn(async move {
                let mut occupant = slot.occupant.lock().await;
                if let Occupant::Leftover(_) = *occupant {
                    // Whoever starts one of this name tries again and hears why not.
                    let _ = slot.clear(&mut occupant, &settings, Duration::ZERO).await;
                }
            });
        }
        Ok(Self(Arc::new(Inner {
            settings,
            slots: Mutex::new(slots),
            news: News {
                ends: broadcast::Sender::new(ENDS_MAX),
                lost: broadcast::Sender::new(ENDS_MAX),
            },
            _lock: lock,
        })))
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let operation = "lock the engines' folder";
    let path = folder.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let file = file.map_err(|source| Error::System { operation, source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Refused {
            operation,
            message: format!("another node runs engines in {}", folder.display()),
        }),
        Err(TryLockError::Error(source)) => Err(Error::System { operation, source }),
    }
}

/// Whoever may still run. The output of what surely does not goes with the life that could read it.
fn leftovers(root: &Path) -> io::Result<BTreeMap<String, Arc<Slot>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if let Some(slot) = leftover_in(root, &name) {
            found.insert(name, Arc::new(slot));
        } else if check::is_name(&name) {
            // A folder with something else in it is somebody else's.
            let _ = EngineFolder::of(root, &name).remove();
        }
    }
    Ok(found)
}

impl Inner {
    async fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots.lock().await.get(name).cloned()
    }

    async fn slot_or_new(&self, name: &str) -> Result<Arc<Slot>, Error> {
        let mut slots = self.slots.lock().await;
        if let Some(slot) = slots.get(name) {
            return Ok(slot.clone());
        }
        if slots.len() >= ENGINES_MAX {
            slots.retain(|_, slot| !is_unused(slot, 1));
        }
        if slots.len() >= ENGINES_MAX {
            return Err(Error::Refused {
                operation: "start",
                message: format!(
                    "{ENGINES_MAX} engines are as many as one node runs; stop one first"
                ),
            });
        }
        let folder = EngineFolder::of(&self.settings.folder, name);
        let slot = Arc::new(Slot::new(folder, Occupant::Nobody));
        slots.insert(name.to_owned(), slot.clone());
        Ok(slot)
    }

    async fn start(&self, spec: EngineSpec) -> Result<Running, Error> {
        check::check(&spec)?;
        let name = spec.name.clone();
        let slot = self.slot_or_new(&name).await?;
        let result = slot.start(&self.settings, spec, self.news.clone()).await;
        self.give_up(&name, slot).await;
        result
    }

    async fn stop(&self, name: &str, fence: u64, grace: Duration) -> Result<(), Error> {
        let Some(slot) = self.slot(name).await else {
            return Ok(());
        };
        not_above(&slot, name, fence)?;
        let grace = grace.min(GRACE_MAX);
        // Whoever has the turn waits no longer than this caller wants.
        if let Some(engine) = slot.shown.borrow().as_ref() {
            engine.ask_to_end(grace);
        }
        let result = {
            let mut occupant = slot.occupant.lock().await;
            // Somebody may have started a later one meanwhile.
            match not_above(&slot, name, fence) {
                Ok(()) => slot.clear(&mut occupant, &self.settings, grace).await,
                Err(fenced) => Err(fenced),
            }
        };
        self.give_up(name, slot).await;
        result
    }

    /// Removes a slot with nobody in it, unless somebody is about to use it.
    async fn give_up(&self, name: &str, slot: Arc<Slot>) {
        let mut slots = self.slots.lock().await;
        if is_unused(&slot, 2) {
            slots.remove(name);
        }
    }
}

/// Whether nobody is in it and nobody but `holders` can come to it. Only who has the map's lock may ask.
fn is_unused(slot: &Arc<Slot>, holders: usize) -> bool {
    let is_empty = || {
        slot.occupant
            .try_lock()
            .is_ok_and(|one| matches!(*one, Occupant::Nobody))
    };
    Arc::strong_count(slot) == holders && is_empty()
}

/// Finishes what was begun even if the caller does not wait for it.
async fn to_its_end<T: Send + 'static>(
    operation: &'static str,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::System {
            operation,
            source: io::Error::other(error),
        }),
    }
}

/// Whoever knows only an older attempt leaves a newer one alone.
fn not_above(slot: &Slot, name: &str, fence: u64) -> Result<(), Error> {
    let there = slot
        .shown
        .borrow()
        .as_ref()
        .map(|engine| engine.running().fence);
    match there {
        Some(theirs) if theirs > fence => Err(Error::Fenced {
            name: name.to_owned(),
            ours: fence,
            theirs,
        }),
        _ => Ok(()),
    }
}

impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn start(&self, spec: EngineSpec) -> BoxFuture<'_, Result<Running, Error>> {
        let inner = self.0.clone();
        to_its_end("start", async move { inner.start(spec).await }).boxed()
    }

    fn stop(&self, name: &str, fence: u64, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let (inner, name) = (self.0.clone(), name.to_owned());
        to_its_end("stop", async move { inner.stop(&name, fence, grace).await }).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Running>, Error>> {
        async {
            let slots = self.0.slots.lock().await;
            let shown = slots
                .values()
                .filter_map(|slot| slot.shown.borrow().clone());
            Ok(shown.map(|engine| engine.running()).collect())
        }
        .boxed()
    }

    fn logs(&self, name: &str, lines_max: usize) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let name = name.to_owned();
        async move {
            let slot = self.0.slot(&name).await;
            let Some(slot) = slot.filter(|slot| slot.shown.borrow().is_some()) else {
                return Err(Error::Unknown(name));
            };
            let folder = slot.folder.clone();
            blocking(move || folder.last_lines(lines_max))
                .await
                .map_err(|source| Error::System {
                    operation: "read an engine's output",
                    source,
                })
        }
        .boxed()
    }

    fn ends(&self) -> BoxStream<'static, Ended> {
        // Who is so late that some were overwritten looks at the list.
        BroadcastStream::new(self.0.news.ends.subscribe())
            .filter_map(async |ended| ended.ok())
            .boxed()
    }

    fn lines_lost(&self) -> BoxStream<'static, LinesLost> {
        BroadcastStream::new(self.0.news.lost.subscribe())
            .filter_map(async |lost| lost.ok())
            .boxed()
    }
}
