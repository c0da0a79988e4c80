//! Many fetches, a few at a time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use weir_core::warming::Asked;

use crate::config::WarmSettings;
use crate::data_plane::warming::{HotKey, WarmDesk, WarmJob, Warmed};
use crate::events::{Events, Kind};
use crate::telemetry::cache::{WarmOutcome, WarmSource};

/// One fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Before what failed is tried again, if it is.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Fetches of one run that wait for their turn.
const WAITING_MAX: usize = 64;
/// Failures of one run that are told one by one.
const FAILURES_TOLD_MAX: usize = 5;

/// Lets fetches begin: so many at a time, so many within a second, whatever they are for.
#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
    /// Of these, so many for refreshes at a time: what waits for their turn does not stand before anything else.
    refreshes: Semaphore,
    next: Mutex<Instant>,
    interval: Duration,
}

impl Gate {
    pub(super) fn new(settings: &WarmSettings) -> Self {
        Self {
            places: Semaphore::new(settings.concurrent_max),
            refreshes: Semaphore::new((settings.concurrent_max / 2).max(1)),
            next: Mutex::new(Instant::now()),
            interval: Duration::from_secs(1) / settings.rate_max.max(1),
        }
    }

    /// The place of one fetch; `None` when there will be none any more.
    async fn enter(&self, source: WarmSource) -> Option<[Option<SemaphorePermit<'_>>; 2]> {
        let share = match source {
            WarmSource::Predictive => Some(self.refreshes.acquire().await.ok()?),
            _ => None,
        };
        let place = self.places.acquire().await.ok()?;
        self.pace().await;
        Some([Some(place), share])
    }

    async fn pace(&self) {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + self.interval;
            turn
        };
        sleep_until(turn).await;
    }
}

/// What is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    asked: Asked,
    key: Option<Arc<str>>,
}

impl Item {
    pub(super) fn of(asked: Asked) -> Self {
        Self { asked, key: None }
    }

    pub(super) fn of_key(hot: &HotKey) -> Self {
        Self {
            asked: hot.asked.clone(),
            key: Some(Arc::clone(&hot.key)),
        }
    }
}

/// One fetch that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was asked for.
    pub url: String,
    /// What became of it.
    pub warmed: Warmed,
}

/// Fetches that are made together.
pub(super) struct Run {
    pub(super) desk: WarmDesk,
    pub(super) gate: Arc<Gate>,
    pub(super) source: WarmSource,
    pub(super) items: Vec<Item>,
    pub(super) min_fresh_s: u32,
    /// How long all of it may take.
    pub(super) within: Duration,
    /// How often each is tried.
    pub(super) tries: u32,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By outcome.
    pub done: [u64; WarmOutcome::ALL.len()],
    /// Not done in time.
    pub unfinished: u64,
    /// The first ones that failed, and why.
    pub failures: Vec<(String, String)>,
}

impl Run {
    /// Makes all of them, and tells of each one that is done.
    pub(super) async fn run(self, told: Option<mpsc::Sender<Done>>) -> Tally {
        let until = Instant::now() + self.within;
        let (tally, told) = (RefCell::new(Tally::default()), told.as_ref());
        let all = stream::iter(&self.items).for_each_concurrent(WAITING_MAX, async |item| {
            let Some(warmed) = self.fetch(item, until).await else {
                return;
            };
            let url = item.asked.url();
            tally.borrow_mut().add(&url, &warmed);
            if let Some(told) = told {
                // Whoever ordered it may have left.
                let _ = told.send(Done { url, warmed }).await;
            }
        });
        let _ = timeout_at(until, all).await;
        let mut tally = tally.into_inner();
        tally.unfinished = self.items.len() as u64 - tally.done.iter().sum::<u64>();
        tally
    }

    async fn fetch(&self, item: &Item, until: Instant) -> Option<Warmed> {
        let mut tries = self.tries;
        loop {
            let warmed = self.fetch_once(item, until).await?;
            tries -= 1;
            if warmed.outcome != WarmOutcome::Failed || tries == 0 {
                return Some(warmed);
            }
            sleep(RETRY_DELAY).await;
        }
    }

    async fn fetch_once(&self, item: &Item, until: Instant) -> Option<Warmed> {
        let _place = self.gate.enter(self.source).await?;
        let job = WarmJob {
            asked: item.asked.clone(),
            key: item.key.clone(),
            min_fresh_s: self.min_fresh_s,
            within: FETCH_TIMEOUT.min(until.saturating_duration_since(Instant::now())),
            source: self.source,
        };
        Some(self.desk.warm(job).await)
    }
}

impl Tally {
    fn add(&mut self, url: &str, warmed: &Warmed) {
        self.done[warmed.outcome as usize] += 1;
        let is_failed = warmed.outcome == WarmOutcome::Failed;
        if is_failed && self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push((url.to_owned(), warmed.why.clone()));
        }
    }

    /// Logs what became of the run.
    pub(super) fn log(&self, message: &str) {
        let [kept, fresh, not_kept, failed] = [
            WarmOutcome::Kept,
            WarmOutcome::Fresh,
            WarmOutcome::NotKept,
            WarmOutcome::Failed,
        ]
        .map(|outcome| self.done[outcome as usize]);
        let unfinished = self.unfinished;
        tracing::info!(kept, fresh, not_kept, failed, unfinished, "{message}");
    }

    /// Says what became of the run.
    pub(super) fn tell(&self, events: &Events, source: WarmSource) {
        let count = |outcome: WarmOutcome| self.done[outcome as usize].to_string();
        let source = ("source", source.name().to_owned());
        for (url, why) in &self.failures {
            // What a query holds is for nobody's eyes.
            let url = url.split('?').next().unwrap_or_default().to_owned();
            let told = [source.clone(), ("url", url), ("why", why.clone())];
            events.record(Kind::CacheWarmFailed, events.node(), told);
        }
        let told = [
            source,
            ("kept", count(WarmOutcome::Kept)),
            ("fresh", count(WarmOutcome::Fresh)),
            ("not_kept", count(WarmOutcome::NotKept)),
            ("failed", count(WarmOutcome::Failed)),
            ("unfinished", self.unfinished.to_string()),
        ];
        events.record(Kind::CacheWarmed, events.node(), told);
    }
}
