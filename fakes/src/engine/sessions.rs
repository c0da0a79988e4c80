//! What is played, and by whom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::json;

/// One player's stream.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) infohash: String,
    pub(super) player: String,
    pub(super) begun: Instant,
    pub(super) ended: AtomicBool,
    pub(super) readers: AtomicU64,
    pub(super) packets: AtomicU64,
}

impl Session {
    pub(super) fn is_prebuffering(&self, prebuffer_ms: u64) -> bool {
        self.begun.elapsed() < Duration::from_millis(prebuffer_ms)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// All that play.
#[derive(Default)]
pub(super) struct Sessions {
    playing: Mutex<BTreeMap<String, Arc<Session>>>,
    begun: AtomicU64,
    stopped: AtomicU64,
    displaced: AtomicU64,
}

impl Sessions {
    /// Begins one. With `one_player`, others of the same stream end.
    pub(super) fn begin(&self, infohash: String, player: String, one_player: bool) -> Arc<Session> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session {
            id: format!("{number:032x}"),
            infohash,
            player,
            begun: Instant::now(),
            ended: AtomicBool::new(false),
            readers: AtomicU64::new(0),
            packets: AtomicU64::new(0),
        });
        let mut playing = self.locked();
        if one_player {
            playing.retain(|_, old| {
                let stays = old.infohash != session.infohash;
                if !stays {
                    old.ended.store(true, Ordering::Release);
                    self.displaced.fetch_add(1, Ordering::Relaxed);
                }
                stays
            });
        }
        playing.insert(session.id.clone(), Arc::clone(&session));
        session
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.locked().get(id).cloned()
    }

    pub(super) fn any(&self) -> bool {
        !self.locked().is_empty()
    }

    /// Whether there was one to stop.
    pub(super) fn stop(&self, id: &str) -> bool {
        let stopped = self.end(id);
        self.stopped
            .fetch_add(u64::from(stopped), Ordering::Relaxed);
        stopped
    }

    /// Ends one as nobody reads it any more.
    pub(super) fn end(&self, id: &str) -> bool {
        let found = self.locked().remove(id);
        if let Some(session) = &found {
            session.ended.store(true, Ordering::Release);
        }
        found.is_some()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.playing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Members of an object.
    pub(super) fn json(&self) -> String {
        let sessions: Vec<String> = self
            .locked()
            .values()
            .map(|session| session.json())
            .collect();
        format!(
            r#""starts":{},"stops":{},"displaced":{},"sessions":[{}]"#,
            self.begun.load(Ordering::Relaxed),
            self.stopped.load(Ordering::Relaxed),
            self.displaced.load(Ordering::Relaxed),
            sessions.join(","),
        )
    }
}

impl Session {
    fn json(&self) -> String {
        format!(
            r#"{{"id":"{}","infohash":{},"player":{},"readers":{},"packets":{}}}"#,
            self.id,
            json::text(&self.infohash),
            json::text(&self.player),
            self.readers.load(Ordering::Relaxed),
            self.packets.load(Ordering::Relaxed),
        )
    }
}
