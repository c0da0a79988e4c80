//! The newest events, with floods of equal ones made one. Time comes in; nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::kind::{Kind, Severity};

/// Events that are kept.
pub const KEPT_MAX: usize = 1_000;
/// Of those the ones that happen all the time: they push nothing else out.
pub const DEBUG_KEPT_MAX: usize = 250;
/// Equal events within this time are told as one.
pub const TOGETHER_MS: u64 = 1_000;
/// Different events that are watched for equal ones; beyond, each is told by itself.
const OPEN_MAX: usize = 1_000;
/// Of one kind and subject; beyond, they are told as one, whatever else tells them apart.
const OPEN_OF_SUBJECT_MAX: usize = 32;

/// A name and its value.
pub type Attribute = (&'static str, String);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Rises by one with each event; 0 until it is in the ring.
    pub seq: u64,
    /// When, in ms since 1970; of several, when the last one did.
    pub at_unix_ms: u64,
    /// What.
    pub kind: Kind,
    /// How grave it is: mostly that of [`Kind::severity`].
    pub severity: Severity,
    /// The name of what it happened to, of [`Kind::subject`]; empty for the node.
    pub subject: String,
    /// What is worth knowing; of several, what the last one said.
    pub attributes: Vec<Attribute>,
    /// How many equal ones this stands for.
    pub count: u64,
}

/// What makes two events equal: kind, subject, and the values of [`Kind::told_apart_by`]. The gravest
/// says how grave they are together.
type Key = (Kind, String, Vec<String>);

impl Event {
    fn key(&self) -> Key {
        let names = self.kind.told_apart_by();
        let told_apart = self
            .attributes
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(_, value)| value.clone());
        (self.kind, self.subject.clone(), told_apart.collect())
    }

    fn is_frequent(&self) -> bool {
        self.severity == Severity::Debug
    }
}

/// A time after an event in which equal ones are gathered.
#[derive(Debug)]
struct Open {
    until_unix_ms: u64,
    more: Option<Event>,
}

/// The newest events.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    frequent: usize,
    /// Of the newest event.
    last_seq: u64,
    open: BTreeMap<Key, Open>,
    /// Before, nothing of what is open is over.
    closes_unix_ms: u64,
}

/// Some events, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// Everything up to this one was looked at.
    pub last_seq: u64,
    /// Events of any kind since the reader's last one that are not there any more.
    pub missed: u64,
}

impl Ring {
    pub(super) const fn new() -> Self {
        Self {
            events: VecDeque::new(),
            frequent: 0,
            last_seq: 0,
            open: BTreeMap::new(),
            closes_unix_ms: u64::MAX,
        }
    }

    /// Takes an event, or adds it to the one that stands for its equals.
    pub(super) fn take(&mut self, event: Event) {
        let (key, now) = (self.key_of(&event), event.at_unix_ms);
        let until_unix_ms = now.saturating_add(TOGETHER_MS);
        match self.open.get_mut(&key) {
            Some(open) if now < open.until_unix_ms => gather(&mut open.more, event),
            Some(open) => {
                let before = open.more.take();
                open.until_unix_ms = until_unix_ms;
                match before {
                    Some(before) => {
                        open.more = Some(event);
                        self.push(before);
                    }
                    None => self.push(event),
                }
            }
            None => {
                self.close(now);
                if self.open.len() < OPEN_MAX {
                    let more = None;
                    self.closes_unix_ms = self.closes_unix_ms.min(until_unix_ms);
                    self.open.insert(
                        key,
                        Open {
                            until_unix_ms,
                            more,
                        },
                    );
                }
                self.push(event);
            }
        }
    }

    /// The event's key, unless there are too many others of its kind and subject.
    fn key_of(&self, event: &Event) -> Key {
        let key = event.key();
        if self.open.contains_key(&key) {
            return key;
        }
        let any = (key.0, key.1.clone(), Vec::new());
        let is_of_subject = |(open, _): &(&Key, &Open)| (open.0, &open.1) == (key.0, &key.1);
        let of_subject = self.open.range(any.clone()..).take_while(is_of_subject);
        match of_subject.count() {
            0..OPEN_OF_SUBJECT_MAX => key,
            _ => any,
        }
    }

    /// Tells what was gathered and is due.
    pub(super) fn close(&mut self, now_unix_ms: u64) {
        if now_unix_ms < self.closes_unix_ms {
            return;
        }
        let (mut due, mut closes) = (Vec::new(), u64::MAX);
        self.open.retain(|_, open| {
            if open.until_unix_ms <= now_unix_ms {
                let Some(more) = open.more.take() else {
                    return false;
                };
                due.push(more);
                open.until_unix_ms = now_unix_ms.saturating_add(TOGETHER_MS);
            }
            closes = closes.min(open.until_unix_ms);
            true
        });
        self.closes_unix_ms = closes;
        due.sort_by_key(|event| event.at_unix_ms);
        for event in due {
            self.push(event);
        }
    }

    /// When something that was gathered is due, in ms since 1970.
    pub(super) fn due_unix_ms(&self) -> Option<u64> {
        let gathering = self.open.values().filter(|open| open.more.is_some());
        gathering.map(|open| open.until_unix_ms).min()
    }

    /// So many events were lost on the way here.
    pub(super) const fn lose(&mut self, count: u64) {
        self.last_seq += count;
    }

    /// Events after `since` that are wanted, at most so many; from the oldest one without.
    pub(super) fn read(
        &self,
        since: Option<u64>,
        is_wanted: impl Fn(Kind) -> bool,
        events_max: usize,
    ) -> Page {
        let oldest = self
            .events
            .front()
            .map_or(self.last_seq, |event| event.seq - 1);
        let is_known = since.is_some();
        let since = since.unwrap_or(oldest).min(self.last_seq);
        let mut page = Page {
            last_seq: self.last_seq,
            ..Page::default()
        };
        let mut seen = 0;
        for event in self.events.iter().filter(|event| event.seq > since) {
            if page.events.len() == events_max {
                page.last_seq = event.seq - 1;
                break;
            }
            seen += 1;
            if is_wanted(event.kind) {
                page.events.push(Arc::clone(event));
            }
        }
        if is_known {
            page.missed = page.last_seq - since - seen;
        }
        page
    }

    fn push(&mut self, mut event: Event) {
        self.last_seq += 1;
        event.seq = self.last_seq;
        self.frequent += usize::from(event.is_frequent());
        self.events.push_back(Arc::new(event));
        if self.frequent > DEBUG_KEPT_MAX {
            let oldest = self.events.iter().position(|event| event.is_frequent());
            self.drop_at(oldest.unwrap_or_default());
        }
        if self.events.len() > KEPT_MAX {
            self.drop_at(0);
        }
    }

    fn drop_at(&mut self, at: usize) {
        if let Some(event) = self.events.remove(at) {
            self.frequent -= usize::from(event.is_frequent());
        }
    }
}

fn gather(more: &mut Option<Event>, event: Event) {
    let before = more.as_ref().map_or(0, |more| more.count);
    let count = before.saturating_add(event.count);
    let severity = more.as_ref().map_or(event.severity, |more| more.severity);
    *more = Some(Event {
        count,
        severity: event.severity.max(severity),
        ..event
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, subject: &str, at_unix_ms: u64) -> Event {
        Event {
            seq: 0,
            at_unix_ms,
            kind,
            severity: kind.severity(),
            subject: subject.to_owned(),
            attributes: Vec::new(),
            count: 1,
        }
    }

    fn all(ring: &Ring) -> Vec<(u64, u64)> {
        let page = ring.read(None, |_| true, usize::MAX);
        page.events
            .iter()
            .map(|event| (event.seq, event.count))
            .collect()
    }

    #[test]
    fn of_a_flood_the_first_one_is_told_at_once_and_the_rest_each_second_and_none_is_lost() {
        let mut ring = Ring::new();
        for at in 0..1_000 {
            ring.take(event(Kind::PortMiss, "nl", at));
        }
        assert_eq!(all(&ring), [(1, 1)]);
        assert_eq!(ring.due_unix_ms(), Some(1_000));
        ring.close(999);
        assert_eq!(all(&ring).len(), 1);
        ring.close(1_000);
        assert_eq!(all(&ring), [(1, 1), (2, 999)]);
        for at in 1_000..3_500 {
            ring.take(event(Kind::PortMiss, "nl", at));
        }
        ring.close(9_000);
        let told: u64 = all(&ring).iter().map(|(_, count)| count).sum();
        assert_eq!(told, 3_500);
        assert!(all(&ring).len() <= 6, "{:?}", all(&ring));
        assert_eq!(ring.due_unix_ms(), None);
    }

    #[test]
    fn only_equal_events_are_told_as_one() {
        let mut ring = Ring::new();
        let limited = |limit: &str| Event {
            attributes: vec![("limit", limit.to_owned())],
            ..event(Kind::ProvisionLimited, "tv", 5)
        };
        ring.take(event(Kind::VpnLost, "nl", 5));
        ring.take(event(Kind::VpnLost, "de", 5));
        ring.take(event(Kind::VpnStable, "nl", 5));
        ring.take(limited("queue"));
        ring.take(limited("spacing"));
        assert_eq!(all(&ring).len(), 5);
    }

    #[test]
    fn each_purge_is_told_with_what_it_purged_unless_they_are_a_flood() {
        let mut ring = Ring::new();
        let purged = |tag: String| Event {
            attributes: vec![("scope", "tag".to_owned()), ("of", tag)],
            ..event(Kind::CachePurged, "", 5)
        };
        for tag in 0..20 {
            ring.take(purged(tag.to_string()));
            ring.take(purged(tag.to_string()));
        }
        let told: Vec<(u64, u64)> = all(&ring);
        assert_eq!(told.len(), 20, "{told:?}");
        ring.close(1_005);
        assert_eq!(all(&ring).len(), 40);
        for tag in (0..10_000).chain([3, 10_000]) {
            ring.take(purged(tag.to_string()));
        }
        ring.close(9_000);
        let told = all(&ring);
        assert!(told.len() <= 80, "{}", told.len());
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 10_042);
        // One that was told by itself before there were too many stays by itself.
        let page = ring.read(None, |_| true, usize::MAX);
        let of_3 = |event: &&Arc<Event>| event.attributes[1].1 == "3";
        let told = page.events.iter().filter(of_3).map(|event| event.count);
        assert_eq!(told.sum::<u64>(), 4);
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_how_many_it_missed() {
        let mut ring = Ring::new();
        for n in 0..1_200 {
            ring.take(event(Kind::JobDone, &n.to_string(), n));
        }
        let page = ring.read(Some(50), |_| true, usize::MAX);
        assert_eq!(
            (page.events.len(), page.missed, page.last_seq),
            (KEPT_MAX, 150, 1_200)
        );
        assert_eq!(ring.read(None, |_| true, usize::MAX).missed, 0);
        // What it does not want is no gap.
        let page = ring.read(Some(1_100), |kind| kind == Kind::VpnLost, 10);
        assert_eq!(
            (page.events.len(), page.missed, page.last_seq),
            (0, 0, 1_200)
        );
        // In parts it is told the same.
        let first = ring.read(Some(150), |_| true, 100);
        assert_eq!((first.missed, first.last_seq), (50, 300));
        let next = ring.read(Some(first.last_seq), |_| true, usize::MAX);
        assert_eq!((next.missed, next.events.len()), (0, 900));
        ring.lose(7);
        assert_eq!(ring.read(Some(1_200), |_| true, 10).missed, 7);
        assert_eq!(ring.read(Some(9_999), |_| true, 10).last_seq, 1_207);
    }

    #[test]
    fn what_happens_all_the_time_pushes_nothing_else_out() {
        let mut ring = Ring::new();
        ring.take(event(Kind::VpnLost, "nl", 0));
        for n in 1..5_000 {
            ring.take(event(Kind::PortHit, "nl", n * TOGETHER_MS));
        }
        let page = ring.read(Some(0), |_| true, usize::MAX);
        assert_eq!(page.events[0].kind, Kind::VpnLost);
        assert_eq!(page.events.len(), 1 + DEBUG_KEPT_MAX);
        assert_eq!(page.missed, page.last_seq - 1 - DEBUG_KEPT_MAX as u64);
    }
}
