//! What a client connection waits for, and until when it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::Instant;

use crate::config::Ingress;

const NOT: u64 = u64::MAX;

/// Seen by the connection's stream, its requests and its owner, all on one core; atomics only because
/// hyper wants the stream to be `Send`.
#[derive(Debug)]
pub(super) struct Activity {
    origin: Instant,
    running: AtomicU32,
    idle_since_ms: AtomicU64,
    head_since_ms: AtomicU64,
    write_blocked_since_ms: AtomicU64,
    waits_for_quiet: AtomicWaker,
    watched: AtomicU32,
    lost_after_ms: AtomicU64,
}

/// A wait that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request for the whole keep-alive time.
    Idle,
    /// A request head began and did not end.
    Head,
    /// The client does not take what is sent to it.
    Write,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            running: AtomicU32::new(0),
            idle_since_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(NOT),
            write_blocked_since_ms: AtomicU64::new(NOT),
            waits_for_quiet: AtomicWaker::new(),
            watched: AtomicU32::new(0),
            lost_after_ms: AtomicU64::new(NOT),
        }
    }

    fn now_ms(&self, now: Instant) -> u64 {
        u64::try_from((now - self.origin).as_millis()).unwrap_or(NOT - 1)
    }

    fn mark(&self, place: &AtomicU64) {
        if place.load(Ordering::Relaxed) == NOT {
            place.store(self.now_ms(Instant::now()), Ordering::Relaxed);
        }
    }

    pub(super) fn head_began(&self) {
        self.mark(&self.head_since_ms);
    }

    pub(super) fn head_ended(&self) {
        self.head_since_ms.store(NOT, Ordering::Relaxed);
    }

    pub(super) fn write_blocked(&self, blocked: bool) {
        if blocked {
            self.mark(&self.write_blocked_since_ms);
        } else if self.write_blocked_since_ms.load(Ordering::Relaxed) != NOT {
            self.write_blocked_since_ms.store(NOT, Ordering::Relaxed);
            // A client that has just taken the end of an answer has not been idle.
            let now_ms = self.now_ms(Instant::now());
            self.idle_since_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    pub(super) fn request_began(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn request_ended(&self, now: Instant) {
        self.idle_since_ms
            .store(self.now_ms(now), Ordering::Relaxed);
        if self.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.waits_for_quiet.wake();
        }
    }

    /// Ready once no request runs.
    pub(super) fn poll_quiet(&self, cx: &Context<'_>) -> Poll<()> {
        if self.running() == 0 {
            return Poll::Ready(());
        }
        self.waits_for_quiet.register(cx.waker());
        Poll::Pending
    }

    /// Whether the client is to be seen leaving although nothing is read from it.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed) > 0
    }

    /// From here on the client is told what goes on for as long as it likes; its system is to take something in this
    /// time.
    pub(super) fn give_up_lost_after(&self, patience: Duration) {
        let ms = u64::try_from(patience.as_millis()).unwrap_or(NOT - 1);
        self.lost_after_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn lost_after(&self) -> Option<Duration> {
        let ms = self.lost_after_ms.load(Ordering::Relaxed);
        (ms != NOT).then(|| Duration::from_millis(ms))
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Since when nothing happens: no request runs, none begins, and no bytes wait for the client.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let is_quiet = self.running() == 0
            && self.head_since_ms.load(Ordering::Relaxed) == NOT
            && self.write_blocked_since_ms.load(Ordering::Relaxed) == NOT;
        let since_ms = self.idle_since_ms.load(Ordering::Relaxed);
        is_quiet.then(|| self.origin + Duration::from_millis(since_ms))
    }

    /// The next moment at which something is overdue, as things stand.
    pub(super) fn next_due(&self, limits: &Ingress) -> Option<(Instant, Overdue)> {
        let due = |since_ms: u64, limit: Duration, what: Overdue| {
            (since_ms != NOT).then(|| (self.origin + Duration::from_millis(since_ms) + limit, what))
        };
        let idle_since = if self.running() == 0 {
            self.idle_since_ms.load(Ordering::Relaxed)
        } else {
            NOT
        };
        let blocked_since = self.write_blocked_since_ms.load(Ordering::Relaxed);
        // The start of the next head may have come with the request before it. It has its time once
        // that one is answered, and nobody may talk into that answer.
        let head_since = match self.head_since_ms.load(Ordering::Relaxed) {
            began if began != NOT && idle_since != NOT && blocked_since == NOT => {
                began.max(idle_since)
            }
            _ => NOT,
        };
        [
            due(blocked_since, limits.write_timeout, Overdue::Write),
            due(head_since, limits.header_timeout, Overdue::Head),
            due(idle_since, limits.keep_alive_timeout, Overdue::Idle),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }
}

/// Counts a request on its connection for as long as it lives.
pub(super) struct Running {
    activity: Arc<Activity>,
    ended: Option<Instant>,
}

impl Running {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.request_began();
        Self {
            activity: Arc::clone(activity),
            ended: None,
        }
    }

    /// Has the client watched until what is returned is dropped.
    pub(super) fn watch_client(&self) -> Watching {
        self.activity.watched.fetch_add(1, Ordering::Relaxed);
        Watching(Arc::clone(&self.activity))
    }

    /// The request ended at `now`.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity
            .request_ended(self.ended.unwrap_or_else(Instant::now));
    }
}

/// A request takes nothing from its client, and is to end when that one leaves.
pub(super) struct Watching(Arc<Activity>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watched.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Ingress {
        crate::config::Config::parse("", &Default::default(), &Default::default())
            .unwrap()
            .ingress
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_due_after_the_keep_alive_time() {
        let activity = Activity::new();
        let start = Instant::now();
        assert_eq!(
            activity.next_due(&limits()),
            Some((start + limits().keep_alive_timeout, Overdue::Idle))
        );
        activity.request_began();
        assert_eq!(activity.next_due(&limits()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_does_not_move_its_deadline() {
        let activity = Activity::new();
        activity.head_began();
        let due = activity.next_due(&limits()).unwrap();
        assert_eq!(due.1, Overdue::Head);
        tokio::time::advance(Duration::from_secs(9)).await;
        activity.head_began();
        assert_eq!(activity.next_due(&limits()), Some(due));
        activity.head_ended();
        assert_eq!(activity.next_due(&limits()).unwrap().1, Overdue::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_behind_a_request_has_its_time_after_the_answer() {
        let activity = Activity::new();
        activity.request_began();
        activity.head_began();
        assert_eq!(activity.next_due(&limits()), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        activity.write_blocked(true);
        activity.request_ended(Instant::now());
        assert_eq!(activity.next_due(&limits()).unwrap().1, Overdue::Write);
        activity.write_blocked(false);
        assert_eq!(
            activity.next_due(&limits()),
            Some((Instant::now() + limits().header_timeout, Overdue::Head))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_once_the_client_has_taken_its_answer_and_begun_no_other() {
        let activity = Activity::new();
        assert_eq!(activity.quiet_since(), Some(Instant::now()));
        activity.request_began();
        assert_eq!(activity.quiet_since(), None);
        activity.write_blocked(true);
        activity.request_ended(Instant::now());
        assert_eq!(activity.quiet_since(), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        activity.write_blocked(false);
        assert_eq!(activity.quiet_since(), Some(Instant::now()));
        activity.head_began();
        assert_eq!(activity.quiet_since(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_due_although_a_request_runs() {
        let activity = Activity::new();
        activity.request_began();
        activity.write_blocked(true);
        assert_eq!(activity.next_due(&limits()).unwrap().1, Overdue::Write);
        activity.write_blocked(false);
        assert_eq!(activity.next_due(&limits()), None);
    }
}
