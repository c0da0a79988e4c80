//! The copy of all tokens that requests are looked up in.
//!
//! One task keeps it up to date ([`TokenTable::apply`]); everybody else reads without waiting. While the store
//! is away the last copy counts: a token that was good stays good, and none is refused for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use weir_proto::control::records::v1 as records;

use super::plan::is_expired;
use super::{TOKENS_MAX, TokenHash};
use crate::clock::NowUnixMs;
use crate::governance::identity::{Identity, Proof, Role};
use crate::keys::Keys;
use crate::records::decode;
use crate::store::follow::{Followed, Follower};
use crate::store::{Entry, Event, EventKind};

/// The wall clock may be set, so a stream looks at it this often.
const RECHECK_EVERY: Duration = Duration::from_secs(60);

/// Why a token lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Nothing was read from the store yet.
    #[error("tokens were not read from the store yet; try again")]
    Unready,
    /// There is no such token.
    #[error("the token is unknown or was revoked")]
    Unknown,
    /// It came to its end.
    #[error("token `{name}` expired")]
    Expired {
        /// Which.
        name: Arc<str>,
    },
}

type Known = HashMap<TokenHash, Arc<KnownToken>>;

#[derive(Debug)]
struct KnownToken {
    identity: Identity,
    info: weir_proto::control::v1::TokenInfo,
}

/// The copy of all tokens that requests are looked up in.
#[derive(Debug)]
pub struct TokenTable {
    keys: Keys,
    known: ArcSwapOption<Known>,
    generation: watch::Sender<u64>,
}

impl TokenTable {
    /// A table that lets nobody in before the first snapshot.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            known: ArcSwapOption::empty(),
            generation: watch::Sender::new(0),
        }
    }

    /// Takes what a follower of [`Keys::tokens`], or of more, tells. Only one task may call it.
    pub fn apply(&self, followed: &Followed) {
        match followed {
            Followed::Snapshot { entries, .. } => self.replace(entries),
            Followed::Changed { events, .. } | Followed::Resync { events, .. } => {
                self.change(events);
            }
            Followed::Lost(_) => {}
        }
    }

    /// Keeps the table up to date for as long as the follower lives.
    pub async fn keep(&self, mut follower: Follower) {
        while let Some(followed) = follower.next().await {
            self.apply(&followed);
        }
    }

    /// Who has this token, at this time.
    ///
    /// # Errors
    /// When it lets nobody in.
    pub fn look_up(&self, token: &str, now_unix_ms: u64) -> Result<Identity, TokenRefused> {
        let hash = TokenHash::of(token).ok_or(TokenRefused::Unknown)?;
        let known = self.standing(&hash, now_unix_ms)?;
        Ok(known.identity.clone())
    }

    /// Rises with every change of any token.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Waits until the identity holds no longer: for whoever serves a long stream. Never for an identity that no
    /// token proves.
    pub async fn ended(&self, identity: &Identity, now: &NowUnixMs) -> TokenRefused {
        let Proof::Token(hash) = identity.proof else {
            return std::future::pending().await;
        };
        let mut generation = self.generation();
        loop {
            generation.borrow_and_update();
            let known = match self.standing(&hash, now()) {
                Ok(known) if known.identity == *identity => known,
                Ok(_) => return TokenRefused::Unknown,
                Err(refused) => return refused,
            };
            let left = match known.info.expires_at_unix_ms {
                0 => RECHECK_EVERY,
                end => Duration::from_millis(end.saturating_sub(now())).min(RECHECK_EVERY),
            };
            tokio::select! {
                biased;
                _ = generation.changed() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Waits until a token lets somebody in; not for long.
    pub(super) async fn until_known(&self, hash: &TokenHash, limit: Duration) {
        self.until(limit, |known| known.contains_key(hash)).await;
    }

    /// Waits until no token of this name lets anybody in; not for long.
    pub(super) async fn until_gone(&self, name: &str, limit: Duration) {
        let is_other = |token: &Arc<KnownToken>| *token.identity.name != *name;
        self.until(limit, |known| known.values().all(is_other))
            .await;
    }

    async fn until(&self, limit: Duration, holds: impl Fn(&Known) -> bool) {
        let mut generation = self.generation();
        let holds_now = |_: &u64| self.known.load().as_deref().is_some_and(&holds);
        // Late is no error: the change is made, and the table will hear of it.
        let _ = tokio::time::timeout(limit, generation.wait_for(holds_now)).await;
    }

    fn standing(
        &self,
        hash: &TokenHash,
        now_unix_ms: u64,
    ) -> Result<Arc<KnownToken>, TokenRefused> {
        let known = self.known.load();
        let known = known.as_ref().ok_or(TokenRefused::Unready)?;
        let token = known.get(hash).ok_or(TokenRefused::Unknown)?;
        if is_expired(&token.info, now_unix_ms) {
            return Err(TokenRefused::Expired {
                name: Arc::clone(&token.identity.name),
            });
        }
        Ok(Arc::clone(token))
    }

    fn replace(&self, entries: &[Entry]) {
        let mut known = Known::with_capacity(entries.len().min(TOKENS_MAX));
        for entry in entries {
            self.put(&mut known, entry);
        }
        self.publish(known);
    }

    fn change(&self, events: &[Event]) {
        let known = self.known.load_full();
        let mut known = known.as_deref().cloned().unwrap_or_default();
        for event in events {
            match &event.kind {
                EventKind::Put(entry) => self.put(&mut known, entry),
                EventKind::Deleted => {
                    if let Some(hash) = TokenHash::of_key(&self.keys, &event.key) {
                        known.remove(&hash);
                    }
                }
            }
        }
        self.publish(known);
    }

    /// What cannot be read lets nobody in, even if what was there before did.
    fn put(&self, known: &mut Known, entry: &Entry) {
        let Some(hash) = TokenHash::of_key(&self.keys, &entry.key) else {
            return;
        };
        known.remove(&hash);
        match read(hash, entry) {
            Some(token) if known.len() < TOKENS_MAX => {
                known.insert(hash, Arc::new(token));
            }
            Some(_) => tracing::warn!(max = TOKENS_MAX, "more tokens than there may be"),
            None => tracing::warn!(%hash, "a token in the store is unreadable"),
        }
    }

    fn publish(&self, known: Known) {
        self.known.store(Some(Arc::new(known)));
        self.generation.send_modify(|generation| *generation += 1);
    }
}

fn read(hash: TokenHash, entry: &Entry) -> Option<KnownToken> {
    let info = decode::<records::Token>(&entry.key, &entry.value)
        .ok()?
        .info?;
    let identity = Identity {
        name: Arc::from(&*info.name),
        role: Role::of_wire(info.role)?,
        subject: Arc::from(&*info.subject),
        proof: Proof::Token(hash),
    };
    Some(KnownToken { identity, info })
}
