//! Who may publish and subscribe what.
//!
//! Whoever shows a token has its grants. Who shows none may do on the HTTP API what the node itself may, because that
//! is the operator's; on routes, which are everybody's, what `broadcaster.anonymous` says.

use std::sync::Arc;

use thiserror::Error;
use weir_core::broadcast::{OWN_TOPICS, Pattern, TopicName};

use super::members::ANONYMOUS;
use crate::config::{Anonymous, BroadcasterSettings, Grant};
use crate::token_digest::TokenDigest;

/// Where a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// The node's own API.
    Api,
    /// A route of the data plane.
    Route,
}

/// Why a client may not do something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// A token that means nothing, or none where one is needed.
    #[error("token: {0}")]
    Unknown(&'static str),
    /// Something that it may not do.
    #[error("{what}: `{who}` may not {verb} `{value}`")]
    Forbidden {
        /// Of what kind it is.
        what: &'static str,
        /// Who wants it.
        who: Arc<str>,
        /// Publish or subscribe to.
        verb: &'static str,
        /// What it is.
        value: String,
    },
}

impl Denied {
    /// What of the request does not do.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "token",
            Self::Forbidden { what, .. } => what,
        }
    }
}

/// Everybody's rights, with the digests of tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Rights {
    anonymous: Anonymous,
    held: Arc<[Held]>,
}

#[derive(PartialEq, Eq)]
struct Held {
    digest: TokenDigest,
    name: Arc<str>,
    grants: Arc<Grants>,
}

#[derive(Debug, PartialEq, Eq)]
struct Grants {
    publish: Vec<Grant>,
    subscribe: Vec<Grant>,
}

/// Somebody, and what they may do.
#[derive(Clone, Debug)]
pub struct Who {
    /// As logs and refusals call them.
    pub name: Arc<str>,
    /// The token that they showed.
    pub token: Option<Arc<str>>,
    /// Of its secret as it was then.
    digest: TokenDigest,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Everything,
    Anonymous(Anonymous),
    Granted(Arc<Grants>),
}

impl Rights {
    /// Reads the secrets that tokens are; may block for as long as a disk does. One that cannot be read is nobody's.
    pub fn read(settings: &BroadcasterSettings) -> Self {
        let held = settings.tokens.iter().filter_map(|token| {
            let secret = token.token.read().inspect_err(|error| {
                tracing::warn!(%error, token = token.name, "nobody can show this token");
            });
            Some(Held {
                digest: TokenDigest::of(secret.ok()?.expose()),
                name: token.name.as_str().into(),
                grants: Arc::new(Grants {
                    publish: token.publish.clone(),
                    subscribe: token.subscribe.clone(),
                }),
            })
        });
        Self {
            anonymous: settings.anonymous,
            held: held.collect(),
        }
    }

    /// Who shows this token at this face. `name` is who they say that they are.
    ///
    /// # Errors
    ///
    /// When the token is nobody's, when there has to be one, or when the name is another's.
    pub fn who(
        &self,
        face: Face,
        token: Option<&str>,
        name: Option<&Arc<str>>,
    ) -> Result<Who, Denied> {
        let Some(token) = token else {
            return self.without_token(face, name);
        };
        // All are looked at: time tells nothing.
        let found = self.held.iter().fold(None, |found, held| {
            if held.digest.is_of(token) {
                Some(held)
            } else {
                found
            }
        });
        let held = found.ok_or(Denied::Unknown("is nobody's"))?;
        Ok(Who {
            name: match name {
                Some(name) => format!("{}:{name}", held.name).into(),
                None => Arc::clone(&held.name),
            },
            token: Some(Arc::clone(&held.name)),
            digest: held.digest,
            rule: Rule::Granted(Arc::clone(&held.grants)),
        })
    }

    fn without_token(&self, face: Face, name: Option<&Arc<str>>) -> Result<Who, Denied> {
        let is_taken = |name: &&Arc<str>| {
            let first = name.split(':').next().unwrap_or_default();
            self.held.iter().any(|held| &*held.name == first)
        };
        if name.filter(is_taken).is_some() {
            return Err(Denied::Unknown(
                "the name is that of one, which has to be shown",
            ));
        }
        let rule = match (face, self.anonymous) {
            (Face::Api, _) => Rule::Everything,
            (Face::Route, Anonymous::Nothing) => return Err(Denied::Unknown("is required")),
            (Face::Route, anonymous) => Rule::Anonymous(anonymous),
        };
        let name = name.map_or_else(|| ANONYMOUS.into(), Arc::clone);
        Ok(Who {
            name,
            token: None,
            digest: TokenDigest::default(),
            rule,
        })
    }

    /// What somebody may do now who came in before.
    ///
    /// # Errors
    ///
    /// When there is no such token any more, or one is needed now.
    pub fn again(&self, face: Face, who: &Who) -> Result<Who, Denied> {
        let Some(token) = &who.token else {
            let anonymous = self.without_token(face, None)?;
            return Ok(Who {
                rule: anonymous.rule,
                ..who.clone()
            });
        };
        let is_still = |held: &&Held| held.name == *token && held.digest == who.digest;
        let held = self.held.iter().find(is_still);
        let held = held.ok_or(Denied::Unknown("is nobody's any more"))?;
        Ok(Who {
            rule: Rule::Granted(Arc::clone(&held.grants)),
            ..who.clone()
        })
    }
}

impl Who {
    /// # Errors
    ///
    /// When they may not.
    pub fn may_publish(&self, topic: &TopicName) -> Result<(), Denied> {
        let may = match &self.rule {
            Rule::Everything | Rule::Anonymous(Anonymous::All) => true,
            Rule::Anonymous(_) => false,
            Rule::Granted(grants) => takes(&grants.publish, topic),
        };
        self.unless(may, "topic", "publish to", topic.as_str())
    }

    /// # Errors
    ///
    /// When they may not.
    pub fn may_subscribe(&self, topic: &TopicName) -> Result<(), Denied> {
        let may = match &self.rule {
            Rule::Everything => true,
            Rule::Anonymous(_) => !topic.as_str().starts_with(OWN_TOPICS),
            Rule::Granted(grants) => takes(&grants.subscribe, topic),
        };
        self.unless(may, "topic", "subscribe to", topic.as_str())
    }

    /// # Errors
    ///
    /// When they may not subscribe to all that it takes.
    pub fn may_subscribe_pattern(&self, pattern: &Pattern) -> Result<(), Denied> {
        let may = match &self.rule {
            Rule::Everything => true,
            Rule::Anonymous(_) => !pattern.as_str().starts_with(OWN_TOPICS),
            Rule::Granted(grants) => grants.subscribe.iter().any(|grant| match grant {
                Grant::Topic(_) => false,
                Grant::Pattern(granted) => granted.covers(pattern),
            }),
        };
        self.unless(may, "pattern", "subscribe to", pattern.as_str())
    }

    fn unless(
        &self,
        may: bool,
        what: &'static str,
        verb: &'static str,
        value: &str,
    ) -> Result<(), Denied> {
        match may {
            true => Ok(()),
            false => Err(Denied::Forbidden {
                what,
                who: Arc::clone(&self.name),
                verb,
                value: value.to_owned(),
            }),
        }
    }
}

fn takes(grants: &[Grant], topic: &TopicName) -> bool {
    grants.iter().any(|grant| match grant {
        Grant::Topic(granted) => granted == topic,
        Grant::Pattern(pattern) => pattern.takes(topic),
    })
}

impl std::fmt::Debug for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rights")
            .field("anonymous", &self.anonymous)
            .field("tokens", &self.held.len())
            .finish_non_exhaustive()
    }
}
