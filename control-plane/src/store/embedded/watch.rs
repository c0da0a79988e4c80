//! A watch: follows the history in the file at its own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use redb::Database;
use tokio::sync::watch as published;

use super::{Standing, blocking, read};
use crate::store::{Error, Revision, Watch, WatchStream, Watched};

struct Watcher {
    // Weak, so that a forgotten watch does not keep a closed file locked.
    database: Weak<Database>,
    prefix: bytes::Bytes,
    from: u64,
    standing: published::Receiver<Standing>,
    progress_every: Duration,
    ready: VecDeque<Watched>,
}

/// Opens a watch.
pub(super) fn open(
    database: &Arc<Database>,
    watch: Watch,
    standing: published::Receiver<Standing>,
    progress_every: Duration,
) -> Result<WatchStream, Error> {
    let current = standing.borrow().revision;
    if watch.from > current.next() {
        return Err(Error::Future {
            asked: watch.from,
            current: Some(current),
        });
    }
    let watcher = Watcher {
        database: Arc::downgrade(database),
        prefix: watch.prefix,
        from: watch.from.0,
        standing,
        progress_every,
        ready: VecDeque::new(),
    };
    let stream = futures::stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        Some(match watcher.next().await {
            Ok(item) => (Ok(item), Some(watcher)),
            Err(error) => (Err(error), None),
        })
    });
    Ok(stream.boxed())
}

impl Watcher {
    async fn next(&mut self) -> Result<Watched, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let current = self.standing.borrow_and_update().revision;
            if self.from <= current.0 {
                self.read().await?;
                continue;
            }
            match tokio::time::timeout(self.progress_every, self.standing.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(closed()),
                Err(_) => return Ok(Watched::Progress(Revision(self.from - 1))),
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let database = self.database.upgrade().ok_or_else(closed)?;
        let (prefix, from) = (self.prefix.clone(), self.from);
        let part = blocking(move || read::history(&database, &prefix, from)).await?;
        self.from = part.read_to + 1;
        let changes = part.changes.into_iter();
        self.ready
            .extend(changes.map(|(revision, events)| Watched::Changed { revision, events }));
        Ok(())
    }
}

fn closed() -> Error {
    Error::Unavailable {
        reason: "it is closed".to_owned(),
    }
}
