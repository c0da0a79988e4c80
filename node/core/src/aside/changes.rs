//! What happens to values, in order, for as long as somebody may want to go on from there.

use std::collections::VecDeque;
use std::sync::Arc;

/// What is watched within a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One value.
    Key(String),
    /// Values whose keys begin like this.
    Prefix(String),
    /// Values with this tag.
    Tag(String),
}

/// What was purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One value.
    Key(String),
    /// Values whose keys begin like this.
    Prefix(String),
    /// Values with this tag.
    Tag(String),
    /// All of the namespace.
    All,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// There is a value, or another one.
    Put,
    /// A value has another time to live.
    Touched,
    /// A value has ended.
    Expired,
    /// Values were purged, of which each node knows its own.
    Purged(Scope),
    /// Something happened that is not told: why.
    Gap(&'static str),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From 1, without holes.
    pub seq: u64,
    /// Where.
    pub namespace: Arc<str>,
    /// What.
    pub what: What,
    /// Of which value; empty for purges and gaps.
    pub key: Arc<str>,
    /// The value's version.
    pub version: String,
    /// The value's tags.
    pub tags: Arc<[String]>,
}

impl Change {
    /// Whether the change concerns whoever watches. Of a purge that may concern them they are told: which values it hit
    /// is known to nobody.
    pub fn concerns(&self, namespace: &str, watched: &Watched) -> bool {
        if *self.namespace != *namespace {
            return matches!(self.what, What::Gap(_)) && self.namespace.is_empty();
        }
        match (&self.what, watched) {
            (What::Gap(_), _) => true,
            (What::Purged(scope), watched) => may_concern(scope, watched),
            (_, Watched::Key(key)) => *self.key == **key,
            (_, Watched::Prefix(prefix)) => self.key.starts_with(prefix.as_str()),
            (_, Watched::Tag(tag)) => self.tags.contains(tag),
        }
    }

    fn bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 24).sum();
        let scope = match &self.what {
            What::Purged(Scope::Key(name) | Scope::Prefix(name) | Scope::Tag(name)) => name.len(),
            _ => 0,
        };
        self.key.len() + self.version.len() + tags + scope + size_of::<Self>()
    }
}

fn may_concern(scope: &Scope, watched: &Watched) -> bool {
    match (scope, watched) {
        (Scope::All, _) => true,
        (Scope::Key(purged), Watched::Key(key)) => purged == key,
        (Scope::Key(purged), Watched::Prefix(prefix)) => purged.starts_with(prefix.as_str()),
        (Scope::Prefix(purged), Watched::Key(key)) => key.starts_with(purged.as_str()),
        (Scope::Prefix(purged), Watched::Prefix(prefix)) => {
            prefix.starts_with(purged.as_str()) || purged.starts_with(prefix.as_str())
        }
        (Scope::Tag(purged), Watched::Tag(tag)) => purged == tag,
        // Which keys have which tags is not known.
        (Scope::Tag(_), _) | (_, Watched::Tag(_)) => true,
    }
}

/// How much is kept for those who go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Changes.
    pub changes_max: usize,
    /// Bytes of all of them.
    pub bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            changes_max: 8_192,
            bytes_max: 4 << 20,
        }
    }
}

/// Changes after that one are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The newest there is.
    pub last: u64,
}

/// The newest changes.
#[derive(Debug)]
pub struct ChangeLog {
    limits: LogLimits,
    kept: VecDeque<Arc<Change>>,
    bytes: usize,
    last: u64,
}

impl ChangeLog {
    /// Nothing has happened.
    pub fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            kept: VecDeque::new(),
            bytes: 0,
            last: 0,
        }
    }

    /// The number of the newest change.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Adds a change, whose number is given to it; the oldest make room.
    pub fn add(&mut self, mut change: Change) -> u64 {
        self.last += 1;
        change.seq = self.last;
        self.bytes += change.bytes();
        self.kept.push_back(Arc::new(change));
        while self.kept.len() > self.limits.changes_max || self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
        self.last
    }

    /// Changes after `seq`, at most so many.
    ///
    /// # Errors
    /// [`Missed`]: some of them are not kept any more.
    pub fn after(&self, seq: u64, most: usize) -> Result<Vec<Arc<Change>>, Missed> {
        let missed = Missed { last: self.last };
        if seq > self.last {
            return Err(missed);
        }
        let first = self.last - self.kept.len() as u64;
        let skipped = usize::try_from(seq.checked_sub(first).ok_or(missed)?).map_err(|_| missed)?;
        Ok(self.kept.iter().skip(skipped).take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, what: What) -> Change {
        Change {
            seq: 0,
            namespace: "values".into(),
            what,
            key: key.into(),
            version: "1-1".to_owned(),
            tags: ["t".to_owned()].into(),
        }
    }

    fn purged(scope: Scope) -> Change {
        change("", What::Purged(scope))
    }

    #[test]
    fn whoever_watches_is_told_what_concerns_them() {
        let text = str::to_owned;
        let key = Watched::Key(text("user/7"));
        let prefix = Watched::Prefix(text("user/"));
        let tag = Watched::Tag(text("t"));
        let put = change("user/7", What::Put);
        for watched in [&key, &prefix, &tag] {
            assert!(put.concerns("values", watched));
            assert!(!put.concerns("other", watched));
            assert!(purged(Scope::All).concerns("values", watched));
            assert!(purged(Scope::Tag(text("t"))).concerns("values", watched));
        }
        assert!(!change("user/8", What::Put).concerns("values", &key));
        assert!(!change("users", What::Put).concerns("values", &prefix));
        assert!(!put.concerns("values", &Watched::Tag(text("u"))));
        assert!(!purged(Scope::Key(text("user/8"))).concerns("values", &key));
        assert!(purged(Scope::Prefix(text("us"))).concerns("values", &prefix));
        assert!(purged(Scope::Prefix(text("user/7/"))).concerns("values", &prefix));
        assert!(!purged(Scope::Tag(text("u"))).concerns("values", &tag));
        let gap = Change {
            namespace: "".into(),
            ..change("", What::Gap("why"))
        };
        assert!(gap.concerns("values", &key));
    }

    #[test]
    fn who_goes_on_gets_everything_or_is_told_that_it_is_not_kept() {
        let limits = LogLimits {
            changes_max: 3,
            bytes_max: 1 << 20,
        };
        let mut log = ChangeLog::new(limits);
        assert_eq!(log.after(0, 9), Ok(Vec::new()));
        for number in 0..5 {
            log.add(change(&number.to_string(), What::Put));
        }
        let keys = |seq, most| {
            let after = log.after(seq, most).unwrap();
            after
                .iter()
                .map(|change| change.key.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(2, 9), ["2", "3", "4"]);
        assert_eq!(keys(3, 1), ["3"]);
        assert!(keys(5, 9).is_empty());
        assert_eq!(log.after(1, 9), Err(Missed { last: 5 }));
        assert_eq!(log.after(6, 9), Err(Missed { last: 5 }));
    }

    #[test]
    fn the_log_is_bounded_by_bytes() {
        let limits = LogLimits {
            changes_max: 1_000,
            bytes_max: 10_000,
        };
        let mut log = ChangeLog::new(limits);
        for number in 0..100 {
            log.add(change(&"k".repeat(1_000 + number), What::Put));
            assert!(log.bytes <= 10_000);
        }
        assert!((5..10).contains(&log.kept.len()), "{}", log.kept.len());
        log.add(change(&"k".repeat(20_000), What::Put));
        assert_eq!((log.kept.len(), log.bytes), (0, 0));
    }
}
