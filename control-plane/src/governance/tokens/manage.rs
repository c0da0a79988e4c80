//! Creates, lists and revokes tokens.
//!
//! Names must be unique and the number is bounded, so a change depends on all tokens. It is decided on a
//! picture of them and made only if nobody changed any meanwhile: every change also writes `cfg/meta/tokens`,
//! whose revision is compared. Else, or if the answer was lost, look again.

use std::sync::Arc;
use std::time::Duration;

use weir_core::tuning::Problem;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1::{AuditRecord, TokenInfo};

use super::plan::{Kept, NewToken, Picture, token_record};
use super::table::TokenTable;
use super::{TOKENS_MAX, TokenHash, fresh, random};
use crate::governance::audit::{self, Actor, Change};
use crate::governance::identity::Role;
use crate::governance::secret::Secret;
use crate::keys::Keys;
use crate::records::decode;
use crate::store::{self, Compare, Op, Pages, Revision, Store, Txn};

/// How often a change is tried before somebody else has to.
const ATTEMPTS_MAX: usize = 5;
/// How long a change waits for the table; without a store's watch the table hears nothing.
pub const TABLE_LIMIT: Duration = Duration::from_secs(2);

/// Why the tokens are as they were.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A field is wrong.
    #[error("{0}")]
    Invalid(Problem),
    /// There is a token of this name.
    #[error("token `{}` exists: {}, created by {}", .0.name, role(.0), .0.author)]
    Taken(Box<TokenInfo>),
    /// There is no token of this name.
    #[error("there is no token `{name}`")]
    Unknown {
        /// Which.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {TOKENS_MAX} tokens, and no more may be; revoke some")]
    Full,
    /// Others changed tokens all the time.
    #[error("others changed tokens {ATTEMPTS_MAX} times meanwhile; try again")]
    Contended,
    /// The operating system gave no random bits.
    #[error("the operating system gives no random bits")]
    Randomness,
    /// The store does not do it. After an ambiguous error the change may have been made.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Creates, lists and revokes tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn Store>,
    keys: Keys,
    table: Option<Arc<TokenTable>>,
}

impl Tokens {
    /// Those of this store.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Self {
        Self {
            store,
            keys,
            table: None,
        }
    }

    /// The same, but a change ends only when this table knows of it too, or after [`TABLE_LIMIT`]: then who made a
    /// token can use it here, and a token that was revoked is refused here.
    pub fn with_table(self, table: Arc<TokenTable>) -> Self {
        Self {
            table: Some(table),
            ..self
        }
    }

    /// Makes a token. It is told here and never again.
    ///
    /// # Errors
    /// When a field is wrong, the name is taken, or the store does not do it.
    pub async fn create(
        &self,
        actor: &Actor,
        token: &NewToken,
        now_unix_ms: u64,
    ) -> Result<Secret, Error> {
        token.check().map_err(Error::Invalid)?;
        let secret = fresh()?;
        let hash = TokenHash::of(secret.expose()).expect("a fresh token has the form of one");
        let info = token.info(actor, now_unix_ms);
        let key = hash.key(&self.keys);
        let record = record(
            actor,
            "token.create",
            &token.name,
            &describe(token),
            now_unix_ms,
        );
        self.change(&info, &record, |picture, _| {
            if picture.holds(&key) {
                return Ok(None);
            }
            let steps = picture.create(&self.keys, hash, &info, now_unix_ms)?;
            Ok(Some(steps))
        })
        .await?;
        if let Some(table) = &self.table {
            table.until_known(&hash, TABLE_LIMIT).await;
        }
        Ok(secret)
    }

    /// Every token, in the order of their names.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<TokenInfo>, Error> {
        let picture = self.look().await?;
        let mut tokens: Vec<TokenInfo> = picture.tokens.into_iter().map(|t| t.info).collect();
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tokens)
    }

    /// Ends a token: the next request with it is refused.
    ///
    /// # Errors
    /// When there is none of this name, or the store does not do it.
    pub async fn revoke(&self, actor: &Actor, name: &str, now_unix_ms: u64) -> Result<(), Error> {
        let info = TokenInfo {
            name: name.to_owned(),
            ..TokenInfo::default()
        };
        let record = record(actor, "token.revoke", name, "", now_unix_ms);
        self.change(&info, &record, |picture, is_repeated| {
            let steps = picture.revoke(name);
            match (steps.is_empty(), is_repeated) {
                (false, _) => Ok(Some(steps)),
                (true, true) => Ok(None),
                (true, false) => Err(Error::Unknown {
                    name: audit::name_of(name),
                }),
            }
        })
        .await?;
        if let Some(table) = &self.table {
            table.until_gone(name, TABLE_LIMIT).await;
        }
        Ok(())
    }

    /// Looks, plans and does, until nobody came between. A plan of `None` has nothing to do; it is told whether an
    /// earlier one may have been done although its answer was lost.
    pub(super) async fn change(
        &self,
        info: &TokenInfo,
        record: &AuditRecord,
        plan: impl Fn(&Picture, bool) -> Result<Option<Vec<Op>>, Error>,
    ) -> Result<(), Error> {
        let id = u64::from_le_bytes(random()?);
        let mut lost = None;
        for _ in 0..ATTEMPTS_MAX {
            let picture = self.look().await?;
            let Some(mut then) = plan(&picture, lost.is_some())? else {
                return Ok(());
            };
            then.push(audit::put(&self.keys, record.clone(), id));
            then.push(self.mark(info));
            let when = Compare::ModRevision(self.keys.tokens_mark(), picture.changed_at);
            match self.store.txn(Txn::only_if(vec![when], then)).await {
                Ok(outcome) if outcome.succeeded => return Ok(()),
                Ok(_) => {}
                Err(error) if error.is_ambiguous() => lost = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(lost.map_or(Error::Contended, Error::Store))
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// All tokens. Those that cannot be read hold no name and let nobody in; they stay where they are.
    pub(super) async fn look(&self) -> Result<Picture, Error> {
        // Read first, so that whatever changes while the rest is read is noticed.
        let mark = self.store.get(self.keys.tokens_mark(), None).await?;
        let mut picture = Picture {
            tokens: Vec::new(),
            changed_at: mark.map_or(Revision(0), |mark| mark.mod_revision),
        };
        let mut pages = Pages::below(&*self.store, self.keys.tokens());
        while let Some(page) = pages.next().await? {
            for entry in page.entries {
                match decode::<records::Token>(&entry.key, &entry.value).map(|token| token.info) {
                    Ok(Some(info)) => picture.tokens.push(Kept {
                        key: entry.key,
                        info,
                    }),
                    Ok(None) => tracing::warn!("a token in the store says nothing of itself"),
                    Err(error) => tracing::warn!(%error, "a token in the store is unreadable"),
                }
            }
            // More than there may be is for `create` to refuse, not for memory to hold.
            if picture.tokens.len() > TOKENS_MAX {
                break;
            }
        }
        Ok(picture)
    }

    /// Tells all who decide on a picture that it is out of date.
    fn mark(&self, info: &TokenInfo) -> Op {
        Op::put(self.keys.tokens_mark(), token_record(info))
    }
}

/// The record of what is done to a token.
pub(super) fn record(
    actor: &Actor,
    action: &str,
    name: &str,
    detail: &str,
    now_unix_ms: u64,
) -> AuditRecord {
    let change = Change {
        action,
        target: name,
        detail,
        ..Change::default()
    };
    audit::record(actor, &change, now_unix_ms)
}

fn describe(token: &NewToken) -> String {
    let subject = match &*token.subject {
        "" => String::new(),
        subject => format!(" of {subject}"),
    };
    let life = match token.ttl_ms {
        0 => "without end".to_owned(),
        ttl_ms => format!("for {} s", ttl_ms / 1000),
    };
    format!("{}{subject}, {life}", token.role)
}

fn role(info: &TokenInfo) -> &'static str {
    Role::of_wire(info.role).map_or("unknown role", Role::as_text)
}
