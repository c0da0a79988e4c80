//! One step of load: requests at a fixed rate, whatever becomes of those before.
//!
//! Request `i` is due at `start + i / rate`, and its latency counts from then. Whoever is free takes the next one; when
//! nobody is free, it begins late, and that is part of its latency. So a node that stalls is not asked less, and
//! nothing that was to be sent is left out of the percentiles.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use weir_core::bench::bottleneck::NodeFacts;
use weir_core::bench::rule::Step;

use super::goal::{Broken, Exchange, Goal, Place};
use super::node::NodeProbe;
use crate::cli::output::Failure;

/// The grain of timers: a request that begins no later than this after its time is in time.
const TICK: Duration = Duration::from_millis(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WARM_UP_MAX: Duration = Duration::from_secs(1);

/// What one step does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) goal: Rc<Goal>,
    pub(super) connections: u32,
    /// Requests a second.
    pub(super) rate: u32,
    /// How long requests are counted; a tenth of it, at most a second, goes before and is not counted.
    pub(super) duration: Duration,
    /// How long answers are waited for after that.
    pub(super) patience: Duration,
}

/// Makes the load of one step, and reads the node's counters around it.
pub(super) async fn run(
    plan: &Plan,
    node: Option<&NodeProbe>,
) -> Result<(Step, Option<NodeFacts>), Failure> {
    let places = connected(plan).await?;
    let run = Run::new(plan);
    let workers = join_all(places.into_iter().map(|place| run.work(place)));
    let facts = async {
        let node = node?;
        sleep_until(run.counted_from).await;
        let before = node.look().await.ok()?;
        sleep_until(run.counted_from + plan.duration).await;
        let after = node.look().await.ok()?;
        Some(after.since(&before))
    };
    let (_, facts) = futures::join!(workers, facts);
    Ok((run.into_step(), facts))
}

/// Opens all connections. One that cannot be opened is tried again by its first request; if none can, nobody is there.
async fn connected(plan: &Plan) -> Result<Vec<Place>, Failure> {
    let mut places = plan.goal.open(plan.connections);
    let opening = places
        .iter_mut()
        .map(|place| timeout(CONNECT_TIMEOUT, place.connect()));
    let opened = join_all(opening).await;
    let mut failed = opened.into_iter().map(|opened| match opened {
        Ok(opened) => opened.err().map(|broken| broken.to_string()),
        Err(_) => Some(format!("no connection within {CONNECT_TIMEOUT:?}")),
    });
    // The first that was opened ends this; of none there is the reason of the last.
    match failed.try_fold(None, |_, why| why.map(Some)) {
        None => Ok(places),
        Some(why) => Err(Failure::Away(format!(
            "nobody takes requests there: {}",
            why.unwrap_or_default()
        ))),
    }
}

struct Run<'a> {
    plan: &'a Plan,
    start: Instant,
    counted_from: Instant,
    /// Nothing is waited for after this.
    end: Instant,
    /// Requests of the whole step, those of the warm-up included.
    requests: u64,
    next: Cell<u64>,
    step: RefCell<Step>,
    last_answer: Cell<Instant>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Self {
        let start = Instant::now();
        let warm_up = (plan.duration / 10).min(WARM_UP_MAX);
        let whole = warm_up + plan.duration;
        Self {
            plan,
            start,
            counted_from: start + warm_up,
            end: start + whole + plan.patience,
            requests: (whole.as_secs_f64() * f64::from(plan.rate)).round() as u64,
            next: Cell::new(0),
            step: RefCell::new(Step {
                offered: plan.rate,
                places: plan.goal.places(plan.connections),
                ..Step::default()
            }),
            last_answer: Cell::new(start + whole),
        }
    }

    /// The time of the next request.
    fn take(&self) -> Option<Instant> {
        let next = self.next.get();
        (next < self.requests).then(|| {
            self.next.set(next + 1);
            self.start + Duration::from_secs_f64(next as f64 / f64::from(self.plan.rate))
        })
    }

    async fn work(&self, mut place: Place) {
        while let Some(due) = self.take() {
            let begin = self.until(due).await;
            let sent = Instant::now();
            if sent >= self.end {
                self.count(due, begin, sent, None);
                continue;
            }
            let exchange = timeout_at(self.end, place.exchange()).await.ok();
            if exchange.is_none() {
                place.give_up();
            }
            self.count(due, begin, sent, exchange);
        }
    }

    /// Waits for the time of a request; from when its latency counts.
    async fn until(&self, due: Instant) -> Instant {
        if Instant::now() >= due {
            return due;
        }
        sleep_until(due).await;
        let (woke, in_time) = (Instant::now(), due + TICK);
        if due >= self.counted_from {
            let late = woke.saturating_duration_since(in_time);
            self.step.borrow_mut().late.record(late);
        }
        woke.min(in_time)
    }

    fn count(&self, due: Instant, begin: Instant, sent: Instant, exchange: Option<Exchange>) {
        if due < self.counted_from {
            return;
        }
        let now = Instant::now().min(self.end);
        let mut step = self.step.borrow_mut();
        step.due += 1;
        step.latency.record(now.saturating_duration_since(begin));
        let is_answered = match exchange {
            None => {
                step.unfinished += 1;
                return;
            }
            Some(Ok(status)) => {
                step.failed += u64::from(status.as_u16() >= 400);
                true
            }
            Some(Err(Broken::Connect(_) | Broken::Http(_))) => {
                step.failed += 1;
                false
            }
        };
        if is_answered {
            step.answered += 1;
            step.service.record(now.saturating_duration_since(sent));
            self.last_answer.set(self.last_answer.get().max(now));
        }
    }

    fn into_step(self) -> Step {
        let mut step = self.step.into_inner();
        step.elapsed = self.last_answer.get() - self.counted_from;
        step
    }
}
