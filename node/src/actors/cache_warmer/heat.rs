//! What is asked for most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use weir_cache::Store;
use weir_core::cache::UnixMs;
use weir_core::warming::{Asked, COUNTED_KEYS, HotKeys, Observed, PredictiveRules};

use super::TICK;
use super::run::Item;
use crate::config::WarmSettings;
use crate::data_plane::answer::Reason;
use crate::data_plane::warming::{HotKey, Told};

/// Refreshes that begin at one look.
const DUE_MAX: usize = 256;
/// What was refreshed is let alone for this part of its lifetime, and at most this long, whatever came of it.
const PAUSE_SHARE: u64 = 4;
const PAUSE_MAX_MS: u64 = 30_000;

/// A refresh that begins now.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) item: Item,
    /// For how many seconds what comes shall be fresh.
    pub(super) min_fresh_s: u32,
    /// How long it may take.
    pub(super) within: Duration,
}

/// Counts of all cores together.
#[derive(Debug)]
pub(super) struct Heat {
    counts: HotKeys<u64>,
    known: BTreeMap<u64, Arc<HotKey>>,
    /// Until when what was refreshed is let alone.
    paused: BTreeMap<u64, u64>,
    /// What was asked for most in the process before, and when it was remembered.
    before: (Vec<Asked>, u64),
    capacity: usize,
}

impl Heat {
    pub(super) fn new(settings: &WarmSettings, now_ms: u64) -> Self {
        let capacity = COUNTED_KEYS.max(settings.hot_keys);
        Self {
            counts: HotKeys::new(capacity, window_ms(settings), now_ms),
            known: BTreeMap::new(),
            paused: BTreeMap::new(),
            before: (Vec::new(), 0),
            capacity,
        }
    }

    pub(super) fn configure(&mut self, settings: &WarmSettings) {
        self.capacity = COUNTED_KEYS.max(settings.hot_keys);
        self.counts.configure(self.capacity, window_ms(settings));
    }

    /// What the process before was asked for most: for one window it stands behind what is counted now.
    pub(super) fn remember(&mut self, asked: Vec<Asked>, now_ms: u64) {
        self.before = (asked, now_ms);
    }

    pub(super) fn take(&mut self, told: Vec<Told>, now_ms: u64) {
        for Told { id, times, hot } in told {
            self.counts.count(&id, u64::from(times), now_ms);
            if let Some(hot) = hot {
                self.known.insert(id, hot);
            }
        }
        if self.known.len() > 4 * self.capacity {
            self.known.retain(|id, _| self.counts.contains(id));
        }
        self.paused.retain(|_, until_ms| *until_ms > now_ms);
    }

    /// What is to be refreshed now.
    pub(super) fn due(
        &mut self,
        rules: &PredictiveRules,
        store: &Store<Reason>,
        now_ms: u64,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        for (id, requests) in self.counts.top(self.capacity, now_ms) {
            if requests.count < rules.requests_min || due.len() == DUE_MAX {
                break;
            }
            if self.paused.contains_key(&id) {
                continue;
            }
            let Some(hot) = self.known.get(&id) else {
                continue;
            };
            let Some(entry) = store.peek(&hot.key, &fields(&hot.asked)) else {
                continue;
            };
            let stored = &entry.stored;
            let (now, ttl) = (UnixMs(now_ms), stored.fresh_until.since(stored.born_at));
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            let age_ms = u64::try_from(now.since(stored.born_at).as_millis()).unwrap_or(u64::MAX);
            let observed = Observed {
                requests,
                fetch_cost_ms: stored.fetch_ms(),
                age_ms,
                ttl_ms,
                next_look_ms: TICK.as_millis() as u64 + stored.fetch_ms(),
            };
            if rules.refresh_now(&observed) {
                let pause_ms = (ttl_ms / PAUSE_SHARE).min(PAUSE_MAX_MS);
                self.paused.insert(id, now_ms.saturating_add(pause_ms));
                let remaining_s = stored.fresh_until.since(now).as_secs();
                let min_fresh_s = u32::try_from(remaining_s + 1).unwrap_or(u32::MAX);
                due.push(Due {
                    item: Item::of_key(hot),
                    min_fresh_s,
                    within: Duration::from_millis(observed.refresh_within_ms()),
                });
            }
        }
        due
    }

    /// The first ones, those of the process before after those of this one.
    pub(super) fn hottest(&mut self, most: usize, now_ms: u64) -> Vec<Asked> {
        let top = self.counts.top(most, now_ms);
        let own = top.iter().filter_map(|(id, _)| self.known.get(id));
        let own = own.map(|hot| hot.asked.clone());
        let is_recent = now_ms.saturating_sub(self.before.1) < self.counts.window_ms();
        let before = self.before.0.iter().filter(|_| is_recent).cloned();
        let mut seen = BTreeSet::new();
        let all = own.chain(before).filter(|asked| {
            let fields = asked.fields().iter();
            let fields: Vec<_> = fields
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect();
            seen.insert(format!("{} {fields:?}", asked.url()))
        });
        all.take(most).collect()
    }
}

fn window_ms(settings: &WarmSettings) -> u64 {
    u64::try_from(settings.window.as_millis()).unwrap_or(u64::MAX)
}

fn fields(asked: &Asked) -> HeaderMap {
    asked.fields().iter().cloned().collect()
}
