//! Claims and holds that are kept alive, and known to be lost before anybody else may have them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use weir_control_plane::jobs::{Error, Hold, JobQueue, Ticket};

/// Before a lease may end for others, it has ended here.
const MARGIN: Duration = Duration::from_secs(2);
/// Between two tries while nobody answers.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Something that is kept alive until this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    task: AbortHandle,
    lost: watch::Receiver<bool>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kept {
    /// Keeps a claim.
    pub(super) fn claim(queue: Arc<dyn JobQueue>, ticket: Ticket, ttl: Duration) -> Self {
        let ticket = Arc::new(ticket);
        Self::new(ttl, move || {
            let (queue, ticket) = (Arc::clone(&queue), Arc::clone(&ticket));
            Box::pin(async move { queue.extend(&ticket).await })
        })
    }

    /// Keeps a hold.
    pub(super) fn hold(queue: Arc<dyn JobQueue>, hold: Hold) -> Self {
        let ttl = hold.ttl;
        let hold = Arc::new(hold);
        Self::new(ttl, move || {
            let (queue, hold) = (Arc::clone(&queue), Arc::clone(&hold));
            Box::pin(async move { queue.extend_hold(&hold).await })
        })
    }

    fn new(
        ttl: Duration,
        extend: impl Fn() -> BoxFuture<'static, Result<(), Error>> + 'static,
    ) -> Self {
        let (tell, lost) = watch::channel(false);
        let task = tokio::task::spawn_local(async move {
            let mut good_until = Instant::now() + ttl.saturating_sub(MARGIN);
            let mut wait = ttl / 3;
            loop {
                sleep_until(good_until.min(Instant::now() + wait)).await;
                let asked_at = Instant::now();
                match timeout_at(good_until, extend()).await {
                    Ok(Ok(())) => {
                        good_until = asked_at + ttl.saturating_sub(MARGIN);
                        wait = ttl / 3;
                    }
                    Ok(Err(Error::Lost { .. })) | Err(_) => break,
                    // It may be a lost answer, or a store that comes back in time.
                    Ok(Err(_)) if Instant::now() < good_until => wait = AGAIN_AFTER.min(ttl / 3),
                    Ok(Err(_)) => break,
                }
            }
            tell.send_replace(true);
        });
        Self {
            task: task.abort_handle(),
            lost,
        }
    }

    /// Keeps it no longer, whoever else holds this.
    pub(super) fn no_longer(&self) {
        self.task.abort();
    }

    /// Ends when it is lost.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // The task ended without a word: nobody keeps it.
            tracing::debug!("a lease is no longer kept");
        }
    }

    /// Whether it is lost.
    pub(super) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;
    use weir_control_plane::store;

    use super::*;

    /// No whole number of tries.
    const TTL: Duration = Duration::from_secs(16);

    fn away() -> Error {
        Error::Store(store::Error::Unavailable {
            reason: "as the test wished".to_owned(),
        })
    }

    /// How long something is kept if extending it answers as `answer` says at each time since the beginning.
    async fn kept_for(answer: impl Fn(Duration) -> Result<(), Error> + 'static) -> Duration {
        let since = Instant::now();
        let test = async {
            let kept = Kept::new(TTL, move || {
                Box::pin(std::future::ready(answer(since.elapsed())))
            });
            kept.lost().await;
            since.elapsed()
        };
        LocalSet::new().run_until(test).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_extended_is_lost_here_before_it_is_lost_to_others() {
        assert_eq!(kept_for(|_| Err(away())).await, TTL - MARGIN);
        let last_answer = Duration::from_secs(22);
        let answers = move |at| match at <= last_answer {
            true => Ok(()),
            false => Err(away()),
        };
        let lost = last_answer + TTL - MARGIN;
        let kept = kept_for(answers).await;
        assert!((lost - TTL / 3..=lost).contains(&kept), "{kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_is_shorter_loses_nothing_and_a_loss_is_known_at_once() {
        let lost = TTL * 5;
        let answers = move |at: Duration| match at.as_secs() % 14 {
            _ if at >= lost => Err(Error::Lost {
                name: "slot".to_owned(),
                by: None,
            }),
            0..7 => Ok(()),
            _ => Err(away()),
        };
        let kept = kept_for(answers).await;
        assert!((lost..=lost + TTL / 3).contains(&kept), "{kept:?}");
    }
}
