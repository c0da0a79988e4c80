//! Coded forms of what is kept, made beside the traffic.
//!
//! A form is made once, on a thread that serves nobody: few at a time, each within what
//! [`compress_whole`](crate::codings::compress_whole) takes, and few wait. It is part of its entry and goes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use weir_core::content_coding::Coding;

use crate::codings::{Level, compress_whole_while};
use crate::entry::{CodedForm, Entry};
use crate::store::Store;

/// Forms that are made or wait for that; each holds the body of its entry.
const WAITING_MAX: usize = 64;
/// One of so many threads may compress.
const THREADS_SHARE: usize = 4;

#[derive(Debug)]
pub(crate) struct Coders {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Coders {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            turns: Arc::new(Semaphore::new((threads / THREADS_SHARE).max(1))),
        }
    }
}

/// Says that a form is not wanted any more when whoever waits for it is gone, so that no thread outlives its runtime.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<F: Clone + Send + Sync + 'static> Store<F> {
    /// What makes a form of a body and keeps it with the entry, as far as that is kept by then; the form is what it is
    /// ready with. `None` if somebody makes or made it, or too many wait.
    pub fn begin_coding(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        coding: Coding,
        level: Level,
    ) -> Option<impl Future<Output = Option<CodedForm>> + use<F>> {
        if !entry.begin_coding(coding) {
            return None;
        }
        let Ok(place) = Arc::clone(&self.coders.places).try_acquire_owned() else {
            entry.forget_coding(coding);
            return None;
        };
        let (store, entry) = (Arc::clone(self), Arc::clone(entry));
        Some(async move {
            let form = store.form_of(&entry, coding, level).await?;
            store.memory.add_coded(&entry, form.clone());
            drop(place);
            Some(form)
        })
    }

    async fn form_of(&self, entry: &Arc<Entry>, coding: Coding, level: Level) -> Option<CodedForm> {
        let turn = Arc::clone(&self.coders.turns).acquire_owned().await.ok()?;
        let is_wanted = Arc::new(AtomicBool::new(true));
        let wanted = Wanted(Arc::clone(&is_wanted));
        let body = Arc::clone(entry);
        let made = tokio::task::spawn_blocking(move || {
            let is_wanted = || is_wanted.load(Ordering::Relaxed);
            let made = compress_whole_while(coding, level, &body.body, is_wanted);
            drop(turn);
            made
        });
        let made = made.await.ok()?;
        drop(wanted);
        match made {
            Ok(body) => Some(CodedForm { coding, body }),
            // Not tried again: it would fail again.
            Err(error) => {
                let key = entry.resource.key.as_str();
                tracing::warn!(key, %error, "not compressed");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
