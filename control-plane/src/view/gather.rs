//! When changes are published: the first one at once, those that come in crowds together. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// Changes of one picture that were not published yet, and when it was published last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    quiet: Duration,
    max: Duration,
    pending: Option<Pending>,
    published: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    since: Instant,
    last: Instant,
    /// Nodes should not wait for the time of a gathering.
    urgent: bool,
    /// The store's revision before the first of them.
    before: u64,
}

impl Gather {
    /// Nothing changed yet. After a publication, changes are gathered until none came for `quiet`, but no longer than
    /// `max`; whatever comes `max` after the last publication is published at once.
    pub(super) fn new(quiet: Duration, max: Duration) -> Self {
        Self {
            quiet,
            max,
            pending: None,
            published: None,
        }
    }

    /// Something changed; `before` is the store's revision before it.
    pub(super) fn note(&mut self, now: Instant, urgent: bool, before: u64) {
        let pending = self.pending.get_or_insert(Pending {
            since: now,
            last: now,
            urgent: false,
            before,
        });
        pending.last = now;
        pending.urgent |= urgent;
    }

    /// When to publish next; never while nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let pending = self.pending?;
        let is_first = self
            .published
            .is_none_or(|published| pending.since >= published + self.max);
        Some(match pending.urgent || is_first {
            true => pending.since,
            false => (pending.last + self.quiet).min(pending.since + self.max),
        })
    }

    /// Everything is published.
    pub(super) fn published(&mut self, now: Instant) {
        (self.pending, self.published) = (None, Some(now));
    }

    /// The store's revision up to which everything is published; `None` for whatever was read.
    pub(super) fn complete_until(&self) -> Option<u64> {
        self.pending.map(|pending| pending.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);

    /// When a gathering publishes that hears of a change at each of these times after a publication.
    fn published_at(quiet: Duration, changes_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let start = Instant::now();
        let mut gather = Gather::new(quiet, MAX);
        gather.published(start);
        let mut times = Vec::new();
        let mut publish = |gather: &mut Gather, until: Option<Instant>| {
            while let Some(due) = gather.due()
                && until.is_none_or(|until| due <= until)
            {
                times.push((due - start).as_millis().try_into().unwrap());
                gather.published(due);
            }
        };
        for at in changes_ms {
            let now = start + Duration::from_millis(at);
            publish(&mut gather, Some(now));
            gather.note(now, false, 0);
        }
        publish(&mut gather, None);
        times
    }

    #[test]
    fn a_change_after_a_while_is_published_at_once_and_a_crowd_together() {
        assert_eq!(published_at(QUIET, [5_000]), [5_000]);
        assert_eq!(published_at(QUIET, [5_000, 5_001, 5_050]), [5_000, 5_150]);
        assert_eq!(published_at(QUIET, [500]), [600], "one came just before");
        let crowd = (5_000..6_500).step_by(5);
        assert_eq!(published_at(QUIET, crowd), [5_000, 6_005, 6_595]);
        // Without a quiet moment that is shorter, it is once in the longest time.
        let trickle = (5_000..8_000).step_by(200);
        assert_eq!(published_at(MAX, trickle), [5_000, 6_200, 7_200, 8_200]);
    }

    #[test]
    fn what_is_urgent_takes_along_what_waits() {
        let start = Instant::now();
        let mut gather = Gather::new(QUIET, MAX);
        gather.published(start);
        gather.note(start, false, 7);
        assert_eq!(gather.due(), Some(start + QUIET));
        gather.note(start + QUIET / 2, true, 8);
        assert_eq!(gather.due(), Some(start));
        assert_eq!(gather.complete_until(), Some(7));
        gather.published(start + QUIET);
        assert_eq!((gather.due(), gather.complete_until()), (None, None));
    }
}
