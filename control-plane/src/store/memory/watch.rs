//! A watch: follows the history at its own pace.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch as published};

use super::past::Part;
use super::{Call, closed};
use crate::store::{Error, Revision, Watch, WatchStream, Watched};

struct Watcher {
    // Weak, so that a forgotten watch does not keep the store.
    calls: mpsc::WeakSender<Call>,
    prefix: Bytes,
    from: Revision,
    newest: published::Receiver<Revision>,
    progress_every: Duration,
    ready: VecDeque<Watched>,
}

/// Opens a watch.
pub(super) fn open(
    calls: mpsc::WeakSender<Call>,
    watch: Watch,
    newest: published::Receiver<Revision>,
    progress_every: Duration,
) -> Result<WatchStream, Error> {
    let current = *newest.borrow();
    if watch.from > current.next() {
        return Err(Error::Future {
            asked: watch.from,
            current: Some(current),
        });
    }
    let watcher = Watcher {
        calls,
        prefix: watch.prefix,
        from: watch.from,
        newest,
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
            let newest = *self.newest.borrow_and_update();
            if self.from <= newest {
                self.read().await?;
                continue;
            }
            match tokio::time::timeout(self.progress_every, self.newest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(closed()),
                Err(_) => return Ok(Watched::Progress(Revision(self.from.0 - 1))),
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel::<Result<Part, Error>>();
        let (prefix, from) = (self.prefix.clone(), self.from);
        let call: Call = Box::new(move |state| {
            let _ = reply.send(state.past.read(&prefix, from));
        });
        let calls = self.calls.upgrade().ok_or_else(closed)?;
        calls.send(call).await.map_err(|_| closed())?;
        drop(calls);
        let part = answer.await.unwrap_or_else(|_| Err(closed()))?;
        self.from = part.read_to.next();
        let changes = part.changes.into_iter();
        self.ready
            .extend(changes.map(|(revision, events)| Watched::Changed { revision, events }));
        Ok(())
    }
}
