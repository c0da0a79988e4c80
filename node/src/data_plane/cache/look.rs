//! What is kept for a request, and whether it answers.

use std::rc::Rc;
use std::sync::Arc;

use weir_cache::{Entry, Found};
use weir_core::cache::{self, Fallback, Forwarded, Reuse, UnixMs};
use weir_core::proxy::is_of_the_way;
use weir_core::purge::Verdict;

use super::serve::Serving;
use crate::telemetry::cache::Outcome;

/// What becomes of a request by what is kept.
pub(super) enum Look {
    Answer(Arc<Entry>, Outcome),
    OnlyIfCached,
    Ask(Need),
}

/// What the origin is asked for, and why.
pub(super) struct Need {
    pub(super) forwarded: Forwarded,
    pub(super) stale: Option<(Arc<Entry>, Fallback)>,
    /// It may be good, and memory has had it for long: the tier beneath is asked for another copy.
    pub(super) asks_beneath: bool,
}

impl Serving<'_> {
    /// What is kept, and whether it answers.
    pub(super) fn look(&mut self, now: UnixMs) -> Look {
        let found = self.find(now);
        let store = &self.core.parts.cache;
        let lookup = &self.wish.lookup;
        let (entry, verdict) = match found {
            Found::Entry(entry, verdict) => (entry, verdict),
            missing => {
                let forwarded = match missing {
                    Found::OtherVariants => Forwarded::VaryMiss,
                    _ => Forwarded::UriMiss,
                };
                return match cache::on_miss(lookup) {
                    Reuse::GatewayTimeout => Look::OnlyIfCached,
                    _ => Look::Ask(Need {
                        forwarded,
                        stale: None,
                        asks_beneath: false,
                    }),
                };
            }
        };
        let is_fresh = verdict == Verdict::Valid && now < entry.stored.fresh_until;
        let forwarded = if is_fresh {
            Forwarded::Request
        } else {
            Forwarded::Stale
        };
        let reuse = under_purges(cache::reuse(lookup, &entry.stored, now), verdict, &entry);
        let answers = matches!(
            reuse,
            Reuse::Fresh | Reuse::Stale | Reuse::StaleWhileRevalidate
        );
        if answers && !is_only_if_cached(lookup) && store.is_due_beneath(&entry, now) {
            return Look::Ask(Need {
                forwarded: Forwarded::Stale,
                stale: Some(still_good(entry)),
                asks_beneath: true,
            });
        }
        match reuse {
            Reuse::Fresh => {
                let draw = self.core.with_rng(fastrand::Rng::f64);
                if cache::is_due(&entry.stored, 1.0, 1.0 - draw, now) {
                    self.refresh(&entry);
                }
                Look::Answer(entry, Outcome::Hit)
            }
            Reuse::Stale => Look::Answer(entry, Outcome::Stale),
            Reuse::StaleWhileRevalidate => {
                self.refresh(&entry);
                Look::Answer(entry, Outcome::Stale)
            }
            Reuse::Revalidate(fallback) => Look::Ask(Need {
                forwarded,
                stale: Some((entry, fallback)),
                asks_beneath: false,
            }),
            Reuse::MustFetch => Look::Ask(Need {
                forwarded,
                stale: None,
                asks_beneath: false,
            }),
            Reuse::GatewayTimeout => Look::OnlyIfCached,
        }
    }

    /// Has the wish say who its client is.
    pub(super) fn introduce(&mut self) {
        if let Some(introduction) = self.introduction.take() {
            let wish = Rc::get_mut(&mut self.wish);
            let wish = wish.expect("nobody has a wish whose client is not introduced");
            introduction.write(self.core, &mut wish.headers);
        }
    }

    /// What is kept for the wish.
    fn find(&mut self, now: UnixMs) -> Found {
        let store = &self.core.parts.cache;
        let found = store.find(self.wish.key.as_str(), &self.wish.headers, now);
        if self.introduction.is_none() || is_for_the_unknown(&found) {
            return found;
        }
        self.introduce();
        store.find(self.wish.key.as_str(), &self.wish.headers, now)
    }
}

/// What memory has had for long, which helps as long as it is good if nobody answers.
fn still_good(entry: Arc<Entry>) -> (Arc<Entry>, Fallback) {
    let stored = &entry.stored;
    let fallback = Fallback {
        conditional: stored.has_validator(),
        on_error_until: stored.sie_until.max(stored.fresh_until),
        disconnected_until: stored.disconnected_until.max(stored.fresh_until),
    };
    (entry, fallback)
}

/// Whether the same is kept for whoever the client is: what heeds nothing of that stands behind nothing that does.
fn is_for_the_unknown(found: &Found) -> bool {
    match found {
        Found::Nothing => true,
        Found::OtherVariants => false,
        Found::Entry(entry, _) => {
            let variant = entry.stored.variant.as_ref();
            variant.is_none_or(|variant| !variant.by().names().iter().any(is_of_the_way))
        }
    }
}

fn is_only_if_cached(lookup: &cache::Lookup) -> bool {
    let wishes = lookup.directives.as_ref();
    wishes.is_some_and(|wishes| wishes.only_if_cached)
}

/// What becomes of a reuse of something that was purged.
pub(super) fn under_purges(reuse: Reuse, verdict: Verdict, entry: &Entry) -> Reuse {
    let stored = &entry.stored;
    let asked_first = |on_error_until, disconnected_until| {
        Reuse::Revalidate(Fallback {
            conditional: stored.has_validator(),
            on_error_until,
            disconnected_until,
        })
    };
    match (verdict, reuse) {
        (Verdict::Valid, reuse) => reuse,
        (_, Reuse::GatewayTimeout | Reuse::MustFetch) => reuse,
        (Verdict::Stale, Reuse::Fresh) if stored.fresh_until < stored.swr_until => {
            Reuse::StaleWhileRevalidate
        }
        (Verdict::Stale, Reuse::StaleWhileRevalidate | Reuse::Revalidate(_)) => reuse,
        (Verdict::Stale, _) => asked_first(stored.sie_until, stored.disconnected_until),
        (Verdict::Unsure | Verdict::Gone, _) => asked_first(UnixMs::default(), UnixMs::default()),
    }
}
