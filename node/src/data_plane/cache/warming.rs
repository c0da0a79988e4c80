//! Between who decides what is fetched and the cores that fetch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use weir_core::warming::Asked;

use crate::telemetry::cache::{WarmOutcome, WarmSource};

/// Jobs that wait for one core; whoever has more waits.
const JOBS_WAITING_MAX: usize = 64;
/// How long a core may take beyond what the job itself may.
const CORE_TIMEOUT: Duration = Duration::from_secs(1);
/// Keys that one core has told and nobody has taken yet.
const TOLD_MAX: usize = 4_096;

/// Both ways between the control thread and the cores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Warming {
    /// From there to the cores.
    pub desk: WarmDesk,
    /// From the cores to there.
    pub board: HitBoard,
}

impl Warming {
    /// For so many cores.
    pub fn new(cores: usize) -> Self {
        Self {
            desk: WarmDesk::new(cores),
            board: HitBoard::default(),
        }
    }
}

/// What a core is asked to fetch.
#[derive(Clone, Debug)]
pub struct WarmJob {
    /// The request.
    pub asked: Asked,
    /// Only if it is kept under this key; other routes than before may take the request.
    pub key: Option<Arc<str>>,
    /// What is kept will do if it stays fresh for so many seconds.
    pub min_fresh_s: u32,
    /// How long it may take.
    pub within: Duration,
    /// What for.
    pub source: WarmSource,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// In one word.
    pub outcome: WarmOutcome,
    /// Of the answer; 0 without.
    pub status: u16,
    /// Of its body, as far as it came.
    pub bytes: u64,
    /// Why it is not kept; empty if it is.
    pub why: String,
}

impl Warmed {
    pub(super) fn kept(status: u16, bytes: u64) -> Self {
        Self {
            outcome: WarmOutcome::Kept,
            status,
            bytes,
            why: String::new(),
        }
    }

    pub(super) fn not_kept(status: u16, bytes: u64, why: impl Into<String>) -> Self {
        Self {
            outcome: WarmOutcome::NotKept,
            status,
            bytes,
            why: why.into(),
        }
    }

    /// Nothing came, for this reason.
    pub fn failed(why: impl Into<String>) -> Self {
        Self {
            outcome: WarmOutcome::Failed,
            status: 0,
            bytes: 0,
            why: why.into(),
        }
    }
}

/// A job on its way, and who waits for it.
type Posted = (WarmJob, oneshot::Sender<Warmed>);

/// Takes jobs for the cores, each in its turn. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WarmDesk {
    cores: Arc<[mpsc::Sender<Posted>]>,
    takers: Arc<Mutex<Vec<Option<mpsc::Receiver<Posted>>>>>,
    next: Arc<AtomicUsize>,
}

impl WarmDesk {
    fn new(cores: usize) -> Self {
        let ways = std::iter::repeat_with(|| mpsc::channel(JOBS_WAITING_MAX)).take(cores);
        let (cores, takers): (Vec<_>, Vec<_>) = ways.map(|(job, way)| (job, Some(way))).unzip();
        Self {
            cores: cores.into(),
            takers: Arc::new(Mutex::new(takers)),
            next: Arc::default(),
        }
    }

    /// Has a core do it and waits for that, a little longer than the job itself may take.
    pub async fn warm(&self, job: WarmJob) -> Warmed {
        let longest = job.within + CORE_TIMEOUT;
        let done = timeout(longest, self.post(job)).await;
        done.ok()
            .flatten()
            .unwrap_or_else(|| Warmed::failed("no core did it"))
    }

    async fn post(&self, job: WarmJob) -> Option<Warmed> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.cores.len().max(1);
        let (answer, answered) = oneshot::channel();
        self.cores.get(at)?.send((job, answer)).await.ok()?;
        answered.await.ok()
    }

    /// The jobs of a core, once.
    pub(crate) fn take(&self, core: usize) -> Option<mpsc::Receiver<Posted>> {
        self.takers.lock().get_mut(core)?.take()
    }
}

/// Something that is kept, as it can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// Under which it is kept.
    pub key: Arc<str>,
    /// As a client of no name asks for it.
    pub asked: Asked,
}

/// How often something was asked for since a core told last.
#[derive(Clone, Debug)]
pub struct Told {
    /// By which all cores know it.
    pub id: u64,
    /// How often, at least.
    pub times: u32,
    /// What it is; not known of what was only missed.
    pub hot: Option<Arc<HotKey>>,
}

/// What cores tell of what is asked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HitBoard {
    is_wanted: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<Told>>>,
}

impl HitBoard {
    /// Whether cores count at all.
    pub fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// What was told since the last time.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock())
    }

    /// Once in a while by each core; what is beyond the bound is forgotten.
    pub fn tell(&self, told: Vec<Told>) {
        let mut all = self.told.lock();
        let room = TOLD_MAX.saturating_sub(all.len());
        all.extend(told.into_iter().take(room));
    }
}

#[cfg(test)]
impl WarmDesk {
    /// How many hold it: each run does.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.next)
    }
}

#[cfg(test)]
impl HitBoard {
    pub(super) fn told_count(&self) -> usize {
        self.told.lock().len()
    }
}
