//! How many nodes and backends may register. Pure: time comes in.
//!
//! What the store is known to hold counts, and what was let in here and is not seen there yet. Several instances learn
//! of each other's within about a second, so together they may let in some more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::view::Census;

/// What was let in and is not seen in the store for this long failed, and counts no longer.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Most of what there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Nodes of the namespace, connected or away.
    pub nodes_max: usize,
    /// Nodes that one token registers.
    pub nodes_per_token_max: usize,
    /// Backends of the namespace.
    pub backends_max: usize,
    /// Backends of one service.
    pub backends_per_service_max: usize,
    /// Backends that one token registers.
    pub backends_per_token_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            nodes_max: 10_000,
            nodes_per_token_max: 10_000,
            backends_max: 50_000,
            backends_per_service_max: 10_000,
            backends_per_token_max: 10_000,
        }
    }
}

/// A bound that one more would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Of the namespace.
    #[error("the namespace has {max} {kind}, which is the most (--{kind}-max)")]
    Namespace {
        /// What is counted.
        kind: &'static str,
        /// The bound.
        max: usize,
    },
    /// Of a service.
    #[error(
        "service `{service}` has {max} backends, which is the most (--backends-per-service-max)"
    )]
    Service {
        /// Which.
        service: String,
        /// The bound.
        max: usize,
    },
    /// Of a token.
    #[error("token `{token}` registered {max} {kind}, which is the most (--{kind}-per-token-max)")]
    Token {
        /// Which.
        token: String,
        /// What is counted.
        kind: &'static str,
        /// The bound.
        max: usize,
    },
}

/// What is counted, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    max: usize,
    per_service_max: usize,
    per_token_max: usize,
}

/// Counts one kind.
#[derive(Debug)]
pub struct Quota {
    kind: Kind,
    seen: Arc<Census>,
    /// Let in here, and not seen yet.
    pending: Census,
    /// Since when they are.
    since: VecDeque<(Instant, String)>,
}

impl Quota {
    /// Counts nodes.
    pub fn of_nodes(bounds: Bounds) -> Self {
        Self::of(Kind {
            name: "nodes",
            max: bounds.nodes_max,
            per_service_max: usize::MAX,
            per_token_max: bounds.nodes_per_token_max,
        })
    }

    /// Counts backends, called `service/backend`.
    pub fn of_backends(bounds: Bounds) -> Self {
        Self::of(Kind {
            name: "backends",
            max: bounds.backends_max,
            per_service_max: bounds.backends_per_service_max,
            per_token_max: bounds.backends_per_token_max,
        })
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            seen: Arc::default(),
            pending: Census::default(),
            since: VecDeque::new(),
        }
    }

    /// Lets one in that showed this token, which is empty without one. Who is known already is let in always, unless
    /// another token had it and this one has as many as it may.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn admit(
        &mut self,
        there: &Arc<Census>,
        name: &str,
        token: &str,
        now: Instant,
    ) -> Result<(), Exceeded> {
        self.look(there, now);
        let is_known = self.seen.contains(name) || self.pending.contains(name);
        let is_counted =
            self.seen.contains_by(name, token) || self.pending.contains_by(name, token);
        if is_counted {
            return Ok(());
        }
        if !is_known {
            self.check_places(name)?;
        }
        let of_token = self.seen.of_token(token) + self.pending.of_token(token);
        if !token.is_empty() && of_token >= self.kind.per_token_max {
            return Err(Exceeded::Token {
                token: token.to_owned(),
                kind: self.kind.name,
                max: self.kind.per_token_max,
            });
        }
        // One that another token had is counted for this one when it is seen.
        if !is_known {
            self.pending.put(name, token);
            self.since.push_back((now, name.to_owned()));
        }
        Ok(())
    }

    fn check_places(&self, name: &str) -> Result<(), Exceeded> {
        let Kind {
            name: kind,
            max,
            per_service_max,
            ..
        } = self.kind;
        if self.seen.len() + self.pending.len() >= max {
            return Err(Exceeded::Namespace { kind, max });
        }
        let of_service = self.seen.of_service_of(name) + self.pending.of_service_of(name);
        if of_service >= per_service_max {
            let service = name.split_once('/').map_or("", |(service, _)| service);
            return Err(Exceeded::Service {
                service: service.to_owned(),
                max: per_service_max,
            });
        }
        Ok(())
    }

    /// One that was let in here is gone again.
    pub fn release(&mut self, name: &str) {
        self.pending.remove(name);
        self.since.retain(|(_, pending)| pending != name);
    }

    fn look(&mut self, there: &Arc<Census>, now: Instant) {
        if !Arc::ptr_eq(&self.seen, there) {
            self.seen = Arc::clone(there);
            self.pending.retain(|name| !there.contains(name));
        }
        while let Some((since, name)) = self.since.front()
            && now.saturating_duration_since(*since) >= SEEN_WITHIN
        {
            self.pending.remove(name);
            self.since.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            nodes_max: 3,
            nodes_per_token_max: 2,
            backends_max: 4,
            backends_per_service_max: 2,
            backends_per_token_max: 3,
        }
    }

    fn census(of: &[(&str, &str)]) -> Arc<Census> {
        let mut census = Census::default();
        for (name, token) in of {
            census.put(name, token);
        }
        Arc::new(census)
    }

    #[test]
    fn who_is_one_too_many_is_told_the_bound_and_who_is_known_is_let_in() {
        let (now, there) = (Instant::now(), census(&[("a", "one")]));
        let mut quota = Quota::of_nodes(bounds());
        let mut admit = |name, token| {
            let admitted = quota.admit(&there, name, token, now);
            admitted.map_err(|exceeded| exceeded.to_string())
        };
        assert_eq!(admit("b", "one"), Ok(()));
        let told = "token `one` registered 2 nodes, which is the most (--nodes-per-token-max)";
        assert_eq!(admit("c", "one"), Err(told.to_owned()));
        assert_eq!(admit("c", "two"), Ok(()));
        let told = "the namespace has 3 nodes, which is the most (--nodes-max)";
        assert_eq!(admit("d", "two"), Err(told.to_owned()));
        assert_eq!(admit("d", ""), Err(told.to_owned()));
        for (known, token) in [("a", "one"), ("b", "one"), ("c", "two"), ("c", "")] {
            assert_eq!(admit(known, token), Ok(()), "{known}");
        }
        assert!(
            admit("c", "one").is_err(),
            "it would be one more of the token"
        );
    }

    #[test]
    fn a_full_service_leaves_others_their_places() {
        let (now, there) = (Instant::now(), census(&[("web/a", ""), ("web/b", "")]));
        let mut quota = Quota::of_backends(bounds());
        let told = "service `web` has 2 backends, which is the most (--backends-per-service-max)";
        let full = quota.admit(&there, "web/c", "", now).unwrap_err();
        assert_eq!(full.to_string(), told);
        assert_eq!(quota.admit(&there, "api/a", "", now), Ok(()));
        assert_eq!(quota.admit(&there, "web/a", "", now), Ok(()));
    }

    #[test]
    fn who_was_let_in_counts_once_and_only_while_it_may_still_come() {
        let (now, none) = (Instant::now(), Arc::<Census>::default());
        let mut quota = Quota::of_nodes(bounds());
        for name in ["a", "b", "c"] {
            quota.admit(&none, name, "", now).unwrap();
        }
        let seen = census(&[("a", ""), ("b", "")]);
        assert!(
            quota.admit(&seen, "d", "", now).is_err(),
            "c may still come"
        );
        assert_eq!(quota.admit(&seen, "d", "", now + SEEN_WITHIN), Ok(()));
        assert!(quota.admit(&seen, "e", "", now + SEEN_WITHIN).is_err());
        quota.release("d");
        assert_eq!(quota.admit(&seen, "e", "", now + SEEN_WITHIN), Ok(()));
    }
}
