//! Keeps the connections: makes them, gives them up when too much fails, and makes them again.
//!
//! A breaker that is open is a link that is not there. Making it anew is the probe, so no reader ever is.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval, sleep};
use weir_core::backoff::Backoff;
use weir_core::trip::Trip;

use super::failure::{Failure, FailureKind};
use super::generations;
use super::link::{Lane, Link, TRIP};
use super::server::{Server, identify, used_bytes};
use super::settings::L2Settings;
use super::shared::Shared;
use super::writer;
use super::{L2State, Outage};

/// For how long nothing is asked, with full jitter.
const OPEN_FOR: RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(5);
/// Connections that were up for so long are no longer doubted.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Between two looks at how much Redis has.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    settings: watch::Receiver<L2Settings>,
    backoff: Backoff,
    /// The Redis that was connected last, and when it was lost.
    last: Option<(Server, u64)>,
    /// What was told last, so that it is told once.
    told: Option<String>,
    /// Since when that has been so.
    away_since: Option<Instant>,
}

/// Looks now and then whether Redis has as much as it may.
#[derive(Default)]
struct Fullness {
    asked_at: Option<Instant>,
    /// Whoever asks is not allowed to know.
    is_untold: bool,
}

impl Fullness {
    async fn look(&mut self, shared: &Shared, link: &Link, bytes_max: u64) {
        let now = Instant::now();
        let is_due = self.asked_at.is_none_or(|at| now - at >= LOOK_INTERVAL);
        if !is_due || self.is_untold {
            return;
        }
        self.asked_at = Some(now);
        let is_full = match used_bytes(&link.quick, now + link.command_timeout).await {
            Ok(used) => {
                let us = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
                shared.ping_us.store(us.max(1), Ordering::Relaxed);
                let used = used.unwrap_or(0);
                shared.used_bytes.store(used, Ordering::Relaxed);
                used >= bytes_max
            }
            Err(failure) => {
                self.is_untold = matches!(failure.kind, FailureKind::Refused | FailureKind::Denied);
                false
            }
        };
        if shared.is_full.swap(is_full, Ordering::Relaxed) != is_full && is_full {
            tracing::warn!(
                bytes_max,
                "redis has as much as it may: nothing more is written"
            );
        }
    }
}

/// Why the connections are no more.
enum Down {
    Failing(Failure),
    OtherUrl,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: watch::Receiver<L2Settings>,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            shared,
            settings,
            backoff: Backoff::new(OPEN_FOR, random),
            last: None,
            told: None,
            away_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let failing = Arc::new(Notify::new());
            let failure = match self.connect(&settings, &failing).await {
                Ok((link, server)) => {
                    self.doubt(&server);
                    let down = self.serve(link, &settings, &failing).await;
                    self.last = Some((server, (self.shared.now)()));
                    match down {
                        Down::Failing(failure) => failure,
                        Down::OtherUrl => {
                            self.away_since = None;
                            self.shared.state.send_replace(L2State::Connecting);
                            continue;
                        }
                    }
                }
                Err(failure) => failure,
            };
            self.tell_away(&settings, failure);
            tokio::select! {
                () = sleep(self.backoff.next_wait()) => {}
                changed = self.settings.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Connects and learns what has to be known before anybody reads.
    async fn connect(
        &self,
        settings: &L2Settings,
        failing: &Arc<Notify>,
    ) -> Result<(Link, Server), Failure> {
        let link = Link::connect(settings, &self.shared.counters, failing).await?;
        let deadline = Instant::now() + settings.connect_timeout;
        let server = identify(&link.quick, deadline).await?;
        generations::learn(&self.shared, &link.quick, deadline).await?;
        writer::settle(&self.shared, &link, deadline).await?;
        Ok((link, server))
    }

    /// Another process may hold what was purged before the last one was lost: it was restored, or was a replica.
    fn doubt(&self, server: &Server) {
        if let Some((last, lost_at)) = &self.last
            && !server.is_surely(last)
        {
            self.shared.floor.raise(*lost_at);
        }
    }

    /// Lets everybody use the link until it fails.
    async fn serve(&mut self, link: Link, settings: &L2Settings, failing: &Notify) -> Down {
        self.shared.counters.connects.one();
        self.tell_up(settings);
        self.shared.link.store(Some(Arc::new(link.clone())));
        self.shared.state.send_replace(L2State::Up);
        let down = self.watch(link, settings, failing).await;
        self.shared.link.store(None);
        down
    }

    async fn watch(&mut self, mut link: Link, settings: &L2Settings, failing: &Notify) -> Down {
        let begun = Instant::now();
        let mut trips = [(); 2].map(|()| Trip::new(TRIP, begun.into_std()));
        let mut tick = interval(TRIP.window / 4);
        let mut fullness = Fullness::default();
        let mut bytes_max = settings.bytes_max;
        loop {
            tokio::select! {
                () = failing.notified() => {}
                _ = tick.tick() => fullness.look(&self.shared, &link, bytes_max).await,
                changed = self.settings.changed() => {
                    let new = self.settings.borrow_and_update().clone();
                    if changed.is_err() || new.url != settings.url {
                        return Down::OtherUrl;
                    }
                    link.command_timeout = new.command_timeout;
                    bytes_max = new.bytes_max;
                    fullness.asked_at = None;
                    self.shared.link.store(Some(Arc::new(link.clone())));
                }
            }
            let now = Instant::now();
            if now - begun >= STABLE_AFTER {
                self.backoff.reset();
            }
            let lanes = [&link.quick, &link.bulk];
            for (lane, trip) in lanes.into_iter().zip(&mut trips) {
                if let Some(failure) = self.judge(lane, trip, now) {
                    return Down::Failing(failure);
                }
            }
        }
    }

    fn judge(&self, lane: &Lane, trip: &mut Trip, now: Instant) -> Option<Failure> {
        if lane.is_broken() {
            let text = "the connection was lost";
            return Some(Failure::new(FailureKind::Lost, text));
        }
        let tripped = trip.look(now.into_std(), lane.totals())?;
        self.shared.counters.opened.one();
        self.shared.floor.raise((self.shared.now)());
        let last = lane.last_failure();
        let kind = last.as_ref().map_or(FailureKind::Late, |last| last.kind);
        let why = last.map_or_else(String::new, |last| format!(": {last}"));
        Some(Failure::new(kind, format!("{tripped}{why}")))
    }

    fn tell_away(&mut self, settings: &L2Settings, failure: Failure) {
        let outage = Outage {
            redis: settings.url.to_string(),
            failure,
            since: *self.away_since.get_or_insert_with(Instant::now),
        };
        let text = outage.to_string();
        if self.told.as_deref() != Some(&text) {
            tracing::warn!("the shared cache is away: {text}");
            self.told = Some(text);
        }
        self.shared.state.send_replace(L2State::Away(outage));
    }

    fn tell_up(&mut self, settings: &L2Settings) {
        self.away_since = None;
        if self.told.take().is_some() {
            tracing::info!("the shared cache is back: {}", settings.url);
        }
    }
}
