//! What happens, as it does.

use std::pin::pin;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use tokio::time::{sleep, timeout};

use super::{Cursor, Events, Page, Wanted};

/// Events of one telling.
const TOLD_MAX: usize = 200;
/// Between two tellings at least.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

struct Follower {
    events: Events,
    since: Option<Cursor>,
    wanted: Wanted,
    has_begun: bool,
}

impl Follower {
    async fn next(&mut self) -> Page {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        if has_begun {
            sleep(INTERVAL_MIN).await;
        }
        loop {
            let mut news = pin!(self.events.0.news.notified());
            // What happens while it reads is not slept over.
            news.as_mut().enable();
            let page = self
                .events
                .read(self.since.as_ref(), &self.wanted, TOLD_MAX);
            let page = page.await;
            self.since = Some(self.events.cursor(page.last_seq));
            if !has_begun || !page.events.is_empty() || page.missed > 0 {
                return page;
            }
            match self.events.due_in().await {
                // Early or not, the next look tells.
                Some(due) => drop(timeout(due, news).await),
                None => news.await,
            }
        }
    }
}

impl Events {
    /// What happened since then, and then what happens, as it does: pages with something in them, after the first.
    pub fn follow(
        &self,
        since: Option<Cursor>,
        wanted: Wanted,
    ) -> impl Stream<Item = Page> + Send + use<> {
        let follower = Follower {
            events: self.clone(),
            since,
            wanted,
            has_begun: false,
        };
        unfold(follower, async |mut follower| {
            let page = follower.next().await;
            Some((page, follower))
        })
    }

    /// How long until something that was gathered is due.
    async fn due_in(&self) -> Option<Duration> {
        let due = self.0.kept.lock().await.ring.due_unix_ms()?;
        let now = self.0.clock.unix_ms_now();
        Some(Duration::from_millis(due.saturating_sub(now).max(1)))
    }
}
