//! HTTP/2 streams whose client takes nothing.
//!
//! A body that is not asked for its next frame cannot notice that time passes, and hyper does not ask
//! while the client's window is shut. So the task of each stream watches the time, and ends the stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::answer::Reason;
use super::connection::Client;

/// Shared by a stream's task and its exchange.
#[derive(Debug, Default)]
pub(super) struct StreamWatch {
    /// Since when it is the client's turn.
    clients_turn_since: Cell<Option<Instant>>,
    deadline: Cell<Option<(Instant, Reason)>>,
    cut: Cell<Option<Reason>>,
}

impl StreamWatch {
    /// The answer's body begins; all of it must have gone by the deadline.
    pub(super) fn begin(&self, deadline: Option<(Instant, Reason)>) {
        self.deadline.set(deadline);
        self.clients_turn();
    }

    /// The client has to take what it was given.
    pub(super) fn clients_turn(&self) {
        self.clients_turn_since.set(Some(Instant::now()));
    }

    /// The client has taken everything there is.
    pub(super) fn backends_turn(&self) {
        self.clients_turn_since.set(None);
    }

    /// Why the stream was cut, if it was.
    pub(super) fn cut(&self) -> Option<Reason> {
        self.cut.get()
    }

    fn due(&self, write_timeout: Duration) -> Option<(Instant, Reason)> {
        let stalled = self
            .clients_turn_since
            .get()
            .map(|since| (since + write_timeout, Reason::ClientStalled));
        [stalled, self.deadline.get()]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }
}

/// Runs the streams of one client connection.
#[derive(Clone)]
pub(super) struct StreamExecutor(pub(super) Rc<Client>);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        // hyper hands a stream over in the same breath in which it asked for the answer.
        let watch = self.0.next_stream.take();
        let write_timeout = self.0.limits.write_timeout;
        tokio::task::spawn_local(async move {
            match watch {
                Some(watch) => run(stream, &watch, write_timeout).await,
                None => drop(stream.await),
            }
        });
    }
}

/// Runs a stream to its end or until it is overdue; dropping it resets it.
async fn run<F: Future>(stream: F, watch: &StreamWatch, write_timeout: Duration) {
    let mut stream = pin!(stream);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Some((at, reason)) = watch.due(write_timeout) {
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                watch.cut.set(Some(reason));
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_client_takes_nothing_is_cut() {
        let watch = StreamWatch::default();
        let start = Instant::now();
        watch.begin(None);
        run(std::future::pending::<()>(), &watch, WRITE_TIMEOUT).await;
        assert_eq!(watch.cut(), Some(Reason::ClientStalled));
        assert_eq!(start.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_cut_at_its_deadline_whoever_waits() {
        let watch = StreamWatch::default();
        let deadline = Instant::now() + Duration::from_secs(3);
        watch.begin(Some((deadline, Reason::TotalTimeout)));
        watch.backends_turn();
        run(std::future::pending::<()>(), &watch, WRITE_TIMEOUT).await;
        assert_eq!(watch.cut(), Some(Reason::TotalTimeout));
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_client_takes_its_time_is_not_cut() {
        let watch = StreamWatch::default();
        watch.begin(None);
        let slow_client = async {
            for _ in 0..3 {
                tokio::time::sleep(WRITE_TIMEOUT - Duration::from_secs(1)).await;
                watch.clients_turn();
            }
        };
        run(slow_client, &watch, WRITE_TIMEOUT).await;
        assert_eq!(watch.cut(), None);
    }
}
