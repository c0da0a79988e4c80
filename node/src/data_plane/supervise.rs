//! Polls one client connection, lets its client go when the node drains or stops, and ends it when it
//! keeps the node waiting.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Overdue};
use super::connection::Client;
use super::core::Core;
use super::leaving::Leaving;

/// When clients shall leave, a quiet one may still begin one request for this long, so that none is lost
/// that was on its way.
pub(super) const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);
/// A client that was told to leave because it was idle gets this long to do so.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is driven to.
pub(super) enum Event {
    Poll,
    Goodbye,
}

/// How a client whose requests run learns that it shall leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The answer says that it is the last (HTTP/1.1). One that has begun cannot say so any more, and its
    /// client may send another request.
    WithTheAnswer,
    /// The connection says which requests it still takes (HTTP/2).
    AtOnce,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    ByItself,
    Overdue(Overdue),
}

/// Drives a connection to its end.
pub(super) async fn supervise(
    core: &Core,
    client: &Client,
    farewell: Farewell,
    mut drive: impl FnMut(Event, &mut Context<'_>) -> Poll<()>,
) -> Ended {
    let leaving = &core.leaving;
    let mut changed = pin!(leaving.changed());
    let mut changes_heard = None;
    let mut quiet_timer = None;
    let mut told_to_leave = false;
    let mut timer = pin!(sleep_until(
        Instant::now() + client.limits.keep_alive_timeout
    ));
    let mut goodbye_until = None;
    poll_fn(|cx| {
        if drive(Event::Poll, cx).is_ready() {
            return Poll::Ready(Ended::ByItself);
        }
        if changes_heard != Some(leaving.changes()) {
            // Once for each change is enough: the waker of this task stays the same.
            changes_heard = Some(leaving.changes());
            changed.set(leaving.changed());
            let _ = changed.as_mut().poll(cx);
        }
        if !told_to_leave
            && poll_farewell(leaving, &client.activity, farewell, &mut quiet_timer, cx).is_ready()
        {
            told_to_leave = true;
            if drive(Event::Goodbye, cx).is_ready() {
                return Poll::Ready(Ended::ByItself);
            }
        }
        while let Some(overdue) = poll_due(&mut timer, goodbye_until, client, cx) {
            if overdue == Overdue::Write {
                core.metrics().write_timeouts.increment();
            }
            if overdue != Overdue::Idle || goodbye_until.is_some() {
                return Poll::Ready(Ended::Overdue(overdue));
            }
            goodbye_until = Some(Instant::now() + GOODBYE_TIMEOUT);
            if drive(Event::Goodbye, cx).is_ready() {
                return Poll::Ready(Ended::ByItself);
            }
        }
        Poll::Pending
    })
    .await
}

/// Ready when the client shall leave and this is the moment to tell it.
fn poll_farewell(
    leaving: &Leaving,
    activity: &Activity,
    farewell: Farewell,
    quiet_timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(since) = leaving.since() else {
        return Poll::Pending;
    };
    if farewell == Farewell::AtOnce && activity.running() > 0 {
        return Poll::Ready(());
    }
    // Whatever ends the noise is a poll of this connection, which asks again.
    let Some(quiet_since) = activity.quiet_since() else {
        return Poll::Pending;
    };
    let until = since.max(quiet_since) + LAST_REQUEST_WAIT;
    let timer = quiet_timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if timer.deadline() != until {
        timer.as_mut().reset(until);
    }
    ready!(timer.as_mut().poll(cx));
    Poll::Ready(())
}

/// What is overdue now, if anything; otherwise leaves a timer that fires no later than it could be.
fn poll_due(
    timer: &mut Pin<&mut Sleep>,
    goodbye_until: Option<Instant>,
    client: &Client,
    cx: &mut Context<'_>,
) -> Option<Overdue> {
    loop {
        let due = client.activity.next_due(&client.limits);
        let (at, what) = match (due, goodbye_until) {
            (Some((_, Overdue::Idle)) | None, Some(until)) => (until, Overdue::Idle),
            (Some(due), _) => due,
            (None, None) => return None,
        };
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return None;
        }
        if Instant::now() >= at {
            timer.as_mut().reset(at + GOODBYE_TIMEOUT);
            return Some(what);
        }
        timer.as_mut().reset(at);
    }
}
