//! One watch on one stream of its own: watches that share a stream starve each other of progress.
//!
//! What etcd does and this survives: it opens a watch on a compacted revision and cancels it a moment later; it
//! opens one on a future revision and is silent for ever; it opens one and dies with the connection half open.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{
    Event as Told, WatchClient, WatchOptions, WatchResponse, WatchStream as Messages,
};
use futures::StreamExt;
use tokio::time::Instant;

use super::{Options, convert, error};
use crate::store::{Error, Event, EventKind, Revision, Watch, WatchStream, Watched};

struct Watcher {
    // The whole of it: etcd ends the watch when the sending half is dropped.
    messages: Messages,
    asked: Revision,
    probe_after: Duration,
    silent_max: Duration,
    ready: VecDeque<Watched>,
}

/// Opens a watch and waits until etcd says that it is open.
pub(super) async fn open(
    mut client: WatchClient,
    watch: Watch,
    options: &Options,
) -> Result<WatchStream, Error> {
    let (start, end) = convert::range(&watch.prefix, None);
    let wanted = WatchOptions::new()
        .with_range(end)
        .with_start_revision(convert::revision_or_zero(Some(watch.from)))
        .with_progress_notify()
        .with_prev_key();
    let messages = client.watch(start, Some(wanted)).await.map_err(error::of)?;
    let mut watcher = Watcher {
        messages,
        asked: watch.from,
        probe_after: options.probe_after,
        silent_max: options.silent_max,
        ready: VecDeque::new(),
    };
    let created = watcher.receive().await?;
    watcher.check_open(&created)?;
    watcher.take(&created)?;
    let stream = futures::stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        Some(match watcher.next().await {
            Ok(item) => (Ok(item), Some(watcher)),
            Err(failed) => (Err(failed), None),
        })
    });
    Ok(stream.boxed())
}

impl Watcher {
    /// Refuses what etcd opens and then never serves: a revision that it has not reached.
    fn check_open(&self, created: &WatchResponse) -> Result<(), Error> {
        if !created.created() {
            return Err(error::incomplete("sign that the watch is open"));
        }
        let current = convert::revision(convert::header(created.header())?.revision());
        // The answer to a revision that was compacted may have no revision of its own.
        if !created.canceled() && current != Revision(0) && self.asked > current.next() {
            let (asked, current) = (self.asked, Some(current));
            return Err(Error::Future { asked, current });
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Watched, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let message = self.hear().await?;
            self.take(&message)?;
        }
    }

    /// The next message; asks for one if none comes, and gives up if that does not help.
    async fn hear(&mut self) -> Result<WatchResponse, Error> {
        let since = Instant::now();
        let (probe_at, silent_at) = (since + self.probe_after, since + self.silent_max);
        if let Ok(message) = tokio::time::timeout_at(probe_at, self.receive()).await {
            return message;
        }
        let answer = async {
            self.messages.request_progress().await.map_err(error::of)?;
            self.receive().await
        };
        tokio::time::timeout_at(silent_at, answer)
            .await
            .unwrap_or_else(|_| {
                let silent = since.elapsed();
                Err(Error::Silent { silent })
            })
    }

    async fn receive(&mut self) -> Result<WatchResponse, Error> {
        let message = self.messages.message().await.map_err(error::of)?;
        message.ok_or_else(|| Error::Unavailable {
            reason: "etcd ended the watch".to_owned(),
        })
    }

    /// Makes items of a message.
    fn take(&mut self, message: &WatchResponse) -> Result<(), Error> {
        if message.canceled() {
            return Err(self.canceled(message));
        }
        for told in message.events() {
            let event = event(told)?;
            let at = told.kv().map_or(0, etcd_client::KeyValue::mod_revision);
            let at = convert::revision(at);
            match self.ready.back_mut() {
                Some(Watched::Changed { revision, events }) if *revision == at => {
                    events.push(event)
                }
                _ => self.ready.push_back(Watched::Changed {
                    revision: at,
                    events: vec![event],
                }),
            }
        }
        if message.events().is_empty() && !message.created() {
            let header = convert::header(message.header())?;
            let revision = convert::revision(header.revision());
            self.ready.push_back(Watched::Progress(revision));
        }
        Ok(())
    }

    fn canceled(&self, message: &WatchResponse) -> Error {
        let asked = self.asked;
        if message.compact_revision() > 0 {
            let compacted = Some(convert::revision(message.compact_revision()));
            return Error::Compacted { asked, compacted };
        }
        let reason = format!("etcd canceled the watch: {}", message.cancel_reason());
        if message.cancel_reason().contains("permission denied") {
            return Error::Denied { reason };
        }
        Error::Unavailable { reason }
    }
}

/// Told apart by version: the client's own way panics on a kind of event that it does not know.
fn event(told: &Told) -> Result<Event, Error> {
    let now = told.kv().ok_or_else(|| error::incomplete("key"))?;
    let now = convert::entry(now);
    Ok(Event {
        key: now.key.clone(),
        previous: told.prev_kv().map(convert::entry),
        kind: match now.version {
            0 => EventKind::Deleted,
            _ => EventKind::Put(now),
        },
    })
}
