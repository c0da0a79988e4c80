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

/// Opens a watch. What was committed a moment ago may have been listed before it is published: the file decides.
pub(super) async fn open(
    database: &Arc<Database>,
    watch: Watch,
    standing: published::Receiver<Standing>,
    progress_every: Duration,
) -> Result<WatchStream, Error> {
    let mut current = standing.borrow().revision;
    if watch.from > current.next() {
        let database = Arc::clone(database);
        current = blocking(move || read::revision(&database)).await?;
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use bytes::Bytes;

    use super::super::{EmbeddedStore, Options};
    use super::*;
    use crate::store::{Op, Store as _, Txn};

    #[tokio::test]
    async fn what_was_listed_before_it_was_published_is_no_future() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(Options::new(folder.path(), 1))
            .await
            .unwrap();
        let before = store.standing.borrow().clone();
        let (_publish, standing) = published::channel(before.clone());
        let put = Op::Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: None,
        };
        let put = Txn::only_if(Vec::new(), vec![put]);
        let revision = store.txn(put).await.unwrap().revision;
        assert!(revision > before.revision);
        let from = |from| Watch {
            prefix: Bytes::from_static(b"k"),
            from,
        };
        let minute = Duration::from_secs(60);
        let next = open(
            &store.database,
            from(revision.next()),
            standing.clone(),
            minute,
        )
        .await;
        assert!(next.is_ok());
        let future = open(
            &store.database,
            from(revision.next().next()),
            standing,
            minute,
        )
        .await;
        assert!(matches!(future.err(), Some(Error::Future { .. })));
    }
}
