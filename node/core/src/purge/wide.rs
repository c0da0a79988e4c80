//! Purges of more than keys and tags: few, in an immutable list.

use std::sync::Arc;

use super::{Fetched, Hardness, Purge, Scope, Verdict};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WideStamp {
    scope: Scope,
    soft: u64,
    hard: u64,
}

/// The newest first, so that whoever looks stops at the first one that is older than its entry.
#[derive(Clone, Debug, Default)]
pub(super) struct WideStamps(Arc<[WideStamp]>);

impl WideStamps {
    pub(super) fn verdict(&self, entry: &Fetched<'_>) -> Verdict {
        let at = entry.at.time();
        self.0
            .iter()
            .take_while(|stamp| stamp.newest() >= at)
            .filter(|stamp| stamp.is_of(entry))
            .map(|stamp| match stamp.hard >= at {
                true => Verdict::Gone,
                false => Verdict::Stale,
            })
            .max()
            .unwrap_or(Verdict::Valid)
    }

    /// With one more purge, and the time of the stamp that had to go for it. None: it was known.
    pub(super) fn with(&self, purge: &Purge, most: usize) -> Option<(Self, Option<u64>)> {
        let mut stamps = self.0.to_vec();
        let at = stamps.iter().position(|stamp| stamp.scope == purge.scope);
        let at = at.unwrap_or_else(|| {
            stamps.push(WideStamp {
                scope: purge.scope.clone(),
                soft: 0,
                hard: 0,
            });
            stamps.len() - 1
        });
        let stamp = &mut stamps[at];
        let known = match purge.hardness {
            Hardness::Soft => &mut stamp.soft,
            Hardness::Hard => &mut stamp.hard,
        };
        if *known >= purge.at.time() {
            return None;
        }
        *known = purge.at.time();
        stamps.sort_by_key(|stamp| std::cmp::Reverse(stamp.newest()));
        let mut gone = None;
        if stamps.len() > most {
            gone = stamps.pop().map(|stamp| stamp.newest());
        }
        Some((Self(stamps.into()), gone))
    }
}

impl WideStamp {
    fn newest(&self) -> u64 {
        self.soft.max(self.hard)
    }

    fn is_of(&self, entry: &Fetched<'_>) -> bool {
        match &self.scope {
            Scope::All(namespace) => *namespace == entry.namespace,
            Scope::Host(host) => *host == entry.host,
            Scope::Prefix { host, path } => *host == entry.host && entry.path.starts_with(&**path),
            Scope::Key(_) | Scope::Tag(_) => false,
        }
    }
}
