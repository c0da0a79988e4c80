//! [`LastKnownGood`] for callers that must not block.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use weir_core::probation::{ContentHash, Standing};

use super::{Error, LastKnownGood, Quarantined};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

/// How long a caller waits for the disk. What it asked for is done nevertheless, when the disk answers.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the node shows of its last known good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The content in force and its standing.
    pub in_force: Option<(ContentHash, Standing)>,
    /// Content that this node refuses.
    pub quarantined: Vec<Quarantined>,
    /// What the disk refused last.
    pub problem: Option<String>,
}

/// Cheap to clone. Calls are done one after the other, on a thread that may block.
#[derive(Clone)]
pub struct Keeper {
    // Held for as long as a disk takes: a second call waits for its turn, and not on a thread.
    disk: Arc<Mutex<LastKnownGood>>,
    status: Snapshot<Status>,
    clock: WallClock,
}

impl Keeper {
    /// Keeps `disk`.
    pub fn new(disk: LastKnownGood, clock: WallClock) -> Self {
        let status = Snapshot::new(Status::of(&disk));
        let disk = Arc::new(Mutex::new(disk));
        Self {
            disk,
            status,
            clock,
        }
    }

    /// [`LastKnownGood::coming_into_force`].
    ///
    /// # Errors
    /// Its own, and [`Error::Late`]: go on, unless it is [`Error::Quarantined`].
    pub async fn coming_into_force(&self, hash: Option<ContentHash>) -> Result<(), Error> {
        let now = self.clock.unix_now();
        self.with(move |disk| disk.coming_into_force(hash, now))
            .await
    }

    /// [`LastKnownGood::store`].
    ///
    /// # Errors
    /// Its own, and [`Error::Late`].
    pub async fn store(
        &self,
        payload: Bytes,
        hash: ContentHash,
        epoch: String,
    ) -> Result<(), Error> {
        let now = self.clock.unix_now();
        self.with(move |disk| disk.store(payload, hash, &epoch, now))
            .await
    }

    /// [`LastKnownGood::look`]; call it about once a second.
    ///
    /// # Errors
    /// Its own, and [`Error::Late`].
    pub async fn look(&self, healthy: bool) -> Result<(), Error> {
        // Whoever has it now writes; the next look is soon enough.
        let Ok(mut disk) = Arc::clone(&self.disk).try_lock_owned() else {
            return Ok(());
        };
        let now = self.clock.unix_now();
        if !disk.is_due(now, healthy) {
            return Ok(());
        }
        in_time(self.run(disk, move |disk| disk.look(now, healthy))).await
    }

    /// [`LastKnownGood::ended_well`].
    ///
    /// # Errors
    /// Its own, and [`Error::Late`].
    pub async fn ended_well(&self) -> Result<(), Error> {
        self.with(LastKnownGood::ended_well).await
    }

    /// What is in force and in quarantine, as of the last call that ended.
    pub fn status(&self) -> Arc<Status> {
        self.status.load()
    }

    /// Keeps everyone else from the disk, as work on a disk that hangs does.
    #[cfg(test)]
    pub(super) async fn hold(&self) -> OwnedMutexGuard<LastKnownGood> {
        Arc::clone(&self.disk).lock_owned().await
    }

    async fn with<F>(&self, work: F) -> Result<(), Error>
    where
        F: FnOnce(&mut LastKnownGood) -> Result<(), Error> + Send + 'static,
    {
        let done = async {
            let disk = Arc::clone(&self.disk).lock_owned().await;
            self.run(disk, work).await
        };
        in_time(done).await
    }

    async fn run<F>(&self, mut disk: OwnedMutexGuard<LastKnownGood>, work: F) -> Result<(), Error>
    where
        F: FnOnce(&mut LastKnownGood) -> Result<(), Error> + Send + 'static,
    {
        let status = self.status.clone();
        let done = tokio::task::spawn_blocking(move || {
            let before = disk.problem().map(str::to_owned);
            let done = work(&mut disk);
            // Said once, not with every write that meets it.
            if let Some(problem) = disk
                .problem()
                .filter(|problem| before.as_deref() != Some(problem))
            {
                tracing::warn!(problem, "last known good");
            }
            status.publish(Status::of(&disk));
            done
        });
        done.await.unwrap_or(Err(Error::GivenUp))
    }
}

async fn in_time(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    timeout(DISK_TIMEOUT, work).await.unwrap_or_else(|_| {
        tracing::warn!(problem = %Error::Late, "last known good");
        Err(Error::Late)
    })
}

impl Status {
    fn of(disk: &LastKnownGood) -> Self {
        Self {
            in_force: disk.in_force(),
            quarantined: disk.quarantined().to_vec(),
            problem: disk.problem().map(str::to_owned),
        }
    }
}
