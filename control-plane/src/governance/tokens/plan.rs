//! What a change of the tokens does, decided from all tokens there are.

use bytes::Bytes;
use weir_core::tuning::{Code, Problem};
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1::TokenInfo;

use super::bootstrap::BOOTSTRAP_NAME;
use super::manage::Error;
use super::{TOKENS_MAX, TokenHash};
use crate::governance::audit::{Actor, name_of};
use crate::governance::identity::Role;
use crate::governance::{NAME_BOUND, is_name};
use crate::keys::Keys;
use crate::problem::refused;
use crate::records::encode;
use crate::store::{Op, Revision};

/// Shortest life of a token that ends.
pub const TTL_MS_MIN: u64 = 1_000;
/// Longest life of a token that ends: ten years.
pub const TTL_MS_MAX: u64 = 10 * 365 * 86_400_000;
/// How long an expired token is still listed.
const EXPIRED_KEPT_MS: u64 = 7 * 86_400_000;
/// Expired tokens that one creation sweeps out.
const SWEPT_MAX: usize = 32;

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Tells tokens apart, and is the author of what is done with it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// For a node its id, for a backend its service, or a pattern with one `*`; empty for any.
    pub subject: String,
    /// How long it lives; 0 for no end.
    pub ttl_ms: u64,
}

impl NewToken {
    /// Checks every field.
    pub(super) fn check(&self) -> Result<(), Problem> {
        // A secret that was written where a name belongs is not repeated.
        let (name, subject) = (name_of(&self.name), name_of(&self.subject));
        let has_subject = !self.subject.is_empty();
        let problem = if !is_name(&self.name) {
            refused("name", Code::Type, "names no token", name, NAME_BOUND)
        } else if self.name == BOOTSTRAP_NAME {
            refused("name", Code::Conflict, "is reserved", name, "any other")
        } else if self.role == Role::Local {
            refused("role", Code::Type, "cannot be given", self.role, roles())
        } else if has_subject && !self.role.has_subject() {
            let (message, bound) = (
                "is bound to nothing",
                format!("empty for role {}", self.role),
            );
            refused("subject", Code::Conflict, message, subject, bound)
        } else if has_subject && !is_pattern(&self.subject) {
            let bound = format!("empty for any, or {NAME_BOUND}, one `*` for any of them");
            let message = "names no node and no service";
            refused("subject", Code::Type, message, subject, bound)
        } else if self.ttl_ms != 0 && !(TTL_MS_MIN..=TTL_MS_MAX).contains(&self.ttl_ms) {
            let bound = format!("0 for no end, or {TTL_MS_MIN} to {TTL_MS_MAX}");
            refused(
                "ttl_ms",
                Code::Range,
                "is out of bounds",
                self.ttl_ms,
                bound,
            )
        } else {
            return Ok(());
        };
        Err(problem)
    }

    /// What is kept of it.
    pub(super) fn info(&self, actor: &Actor, now_unix_ms: u64) -> TokenInfo {
        TokenInfo {
            name: self.name.clone(),
            role: self.role.to_wire() as i32,
            subject: self.subject.clone(),
            author: actor.author.clone(),
            created_at_unix_ms: now_unix_ms,
            expires_at_unix_ms: match self.ttl_ms {
                0 => 0,
                ttl_ms => now_unix_ms.saturating_add(ttl_ms),
            },
        }
    }
}

/// Whether this names nodes or services: a name, or one in which one `*` stands for any characters.
fn is_pattern(text: &str) -> bool {
    is_name(&text.replacen('*', "-", 1))
}

/// The roles that a token can have, as people read it.
pub(crate) fn roles() -> String {
    Role::GIVEN.map(Role::as_text).join(", ")
}

/// All tokens at one time.
pub(super) struct Picture {
    pub(super) tokens: Vec<Kept>,
    /// When the tokens were changed last.
    pub(super) changed_at: Revision,
}

/// One token as it is kept.
pub(super) struct Kept {
    pub(super) key: Bytes,
    pub(super) info: TokenInfo,
}

impl Kept {
    fn is_expired(&self, since_ms: u64, now_unix_ms: u64) -> bool {
        is_expired(&self.info, now_unix_ms.saturating_sub(since_ms))
    }
}

/// A token as the store keeps it.
pub(super) fn token_record(info: &TokenInfo) -> Bytes {
    encode(&records::Token {
        info: Some(info.clone()),
    })
}

/// Whether a token ended by then.
pub(super) fn is_expired(info: &TokenInfo, unix_ms: u64) -> bool {
    info.expires_at_unix_ms != 0 && info.expires_at_unix_ms <= unix_ms
}

impl Picture {
    pub(super) fn holds(&self, key: &Bytes) -> bool {
        self.tokens.iter().any(|kept| kept.key == key)
    }

    /// Whether there is an administrator who can come in.
    pub(super) fn has_admin(&self, now_unix_ms: u64) -> bool {
        let admin = Role::Admin.to_wire() as i32;
        let mut tokens = self.tokens.iter();
        tokens.any(|kept| kept.info.role == admin && !kept.is_expired(0, now_unix_ms))
    }

    /// The steps that make a token, if its name is free. They sweep out some of what expired long ago, so that
    /// tokens with an end need no other hand.
    pub(super) fn create(
        &self,
        keys: &Keys,
        hash: TokenHash,
        info: &TokenInfo,
        now_unix_ms: u64,
    ) -> Result<Vec<Op>, Error> {
        let namesakes = || {
            self.tokens
                .iter()
                .filter(|kept| kept.info.name == info.name)
        };
        if let Some(taken) = namesakes().find(|kept| !kept.is_expired(0, now_unix_ms)) {
            return Err(Error::Taken(Box::new(taken.info.clone())));
        }
        let old = |kept: &&Kept| kept.is_expired(EXPIRED_KEPT_MS, now_unix_ms);
        let others = self
            .tokens
            .iter()
            .filter(|kept| kept.info.name != info.name);
        let gone = namesakes().chain(others.filter(old)).take(SWEPT_MAX);
        let mut steps: Vec<Op> = gone.map(|kept| Op::Delete(kept.key.clone())).collect();
        if self.tokens.len() - steps.len() >= TOKENS_MAX {
            return Err(Error::Full);
        }
        steps.push(Op::put(hash.key(keys), token_record(info)));
        Ok(steps)
    }

    /// The steps that end the tokens of a name; none if there are none.
    pub(super) fn revoke(&self, name: &str) -> Vec<Op> {
        let named = self.tokens.iter().filter(|kept| kept.info.name == name);
        let keys = named.take(SWEPT_MAX).map(|kept| kept.key.clone());
        keys.map(Op::Delete).collect()
    }
}
