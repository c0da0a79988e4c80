//! Who does something, and what each role may do.

use std::fmt;
use std::sync::Arc;

use weir_core::text::matches;
use weir_proto::control::v1 as pb;

use super::audit::{self, Actor};
use super::tokens::TokenHash;

/// What somebody is to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also changes profiles, weights, orders and jobs, and reads the audit.
    Operator,
    /// Also manages tokens.
    Admin,
    /// Only syncs and does jobs, as the node that it names.
    Node,
    /// Only registers backends, of the service that it names.
    Backend,
    /// Whoever reaches a control plane that asks for no identity; may everything.
    Local,
}

impl Role {
    /// Every role that a token or a certificate can give.
    pub const GIVEN: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Admin,
        Self::Node,
        Self::Backend,
    ];

    /// As people, certificates and the audit write it.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Node => "node",
            Self::Backend => "backend",
            Self::Local => "local",
        }
    }

    /// The role of this name, if a token or a certificate can give it.
    pub fn given(text: &str) -> Option<Self> {
        Self::GIVEN.into_iter().find(|role| role.as_text() == text)
    }

    /// The role on the wire, if a token or a certificate can give it.
    pub fn of_wire(role: i32) -> Option<Self> {
        match pb::Role::try_from(role).ok()? {
            pb::Role::Unspecified => None,
            pb::Role::Viewer => Some(Self::Viewer),
            pb::Role::Operator => Some(Self::Operator),
            pb::Role::Admin => Some(Self::Admin),
            pb::Role::Node => Some(Self::Node),
            pb::Role::Backend => Some(Self::Backend),
        }
    }

    /// On the wire; unspecified for [`Role::Local`], which nothing can give.
    pub fn to_wire(self) -> pb::Role {
        match self {
            Self::Viewer => pb::Role::Viewer,
            Self::Operator => pb::Role::Operator,
            Self::Admin => pb::Role::Admin,
            Self::Node => pb::Role::Node,
            Self::Backend => pb::Role::Backend,
            Self::Local => pb::Role::Unspecified,
        }
    }

    /// Whether it is bound to one node or one service.
    pub fn has_subject(self) -> bool {
        matches!(self, Self::Node | Self::Backend)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_text())
    }
}

/// Everything that can be asked of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Read what there is, except tokens and the audit.
    ReadAll,
    /// Read what was traced.
    ReadTraces,
    /// Write a tuning profile.
    ChangeProfile,
    /// Write a service's weights.
    ChangeWeights,
    /// Cordon, drain or forget a node.
    OrderNode,
    /// Remove what a backend registered.
    RemoveBackend,
    /// Add, cancel or requeue jobs.
    ChangeJobs,
    /// List, create or revoke tokens.
    ManageTokens,
    /// Read what was done, by whom.
    ReadAudit,
    /// Sync as this node.
    SyncAs(&'a str),
    /// Add jobs, claim and hold as this node.
    WorkAs(&'a str),
    /// Register, keep or remove backends of this service.
    RegisterFor(&'a str),
}

impl Action<'_> {
    /// Who may, in the order in which people read it; the local one always may.
    fn roles(&self) -> &'static [Role] {
        match self {
            Self::ReadAll => &[Role::Viewer, Role::Operator, Role::Admin],
            // Nodes put traces together for whoever asks them.
            Self::ReadTraces => &[Role::Viewer, Role::Operator, Role::Admin, Role::Node],
            Self::ChangeProfile
            | Self::ChangeWeights
            | Self::OrderNode
            | Self::RemoveBackend
            | Self::ChangeJobs
            | Self::ReadAudit => &[Role::Operator, Role::Admin],
            Self::ManageTokens => &[Role::Admin],
            Self::SyncAs(_) | Self::WorkAs(_) => &[Role::Node],
            // A node registers the engines that it runs.
            Self::RegisterFor(_) => &[Role::Backend, Role::Node],
        }
    }

    /// The one node or service that it is about.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::SyncAs(subject) | Self::WorkAs(subject) | Self::RegisterFor(subject) => {
                Some(subject)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadAll => f.write_str("read the control plane"),
            Self::ReadTraces => f.write_str("read traces"),
            Self::ChangeProfile => f.write_str("change profiles"),
            Self::ChangeWeights => f.write_str("change weights"),
            Self::OrderNode => f.write_str("order nodes about"),
            Self::RemoveBackend => f.write_str("remove backends"),
            Self::ChangeJobs => f.write_str("change jobs"),
            Self::ManageTokens => f.write_str("manage tokens"),
            Self::ReadAudit => f.write_str("read the audit"),
            Self::SyncAs(node) => write!(f, "sync as node `{}`", audit::name_of(node)),
            Self::WorkAs(node) => write!(f, "work as node `{}`", audit::name_of(node)),
            Self::RegisterFor(service) => {
                write!(
                    f,
                    "register backends of service `{}`",
                    audit::name_of(service)
                )
            }
        }
    }
}

/// What proves an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing was asked for.
    None,
    /// A token; it may be revoked, and may expire.
    Token(TokenHash),
    /// A certificate, checked when its connection began.
    Certificate,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Tells people and tokens apart: the author of what is done.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The node or service that it is bound to, or a pattern of them ([`weir_core::text::matches`]); empty for any.
    pub subject: Arc<str>,
    /// How that is known.
    pub proof: Proof,
}

impl Identity {
    /// Whoever reaches a control plane that asks for no identity.
    pub fn local() -> Self {
        Self {
            name: Arc::from(Role::Local.as_text()),
            role: Role::Local,
            subject: Arc::default(),
            proof: Proof::None,
        }
    }

    /// Whether it may do this.
    ///
    /// # Errors
    /// Why not, and who may.
    pub fn may(&self, action: &Action<'_>) -> Result<(), Denied> {
        if self.role == Role::Local {
            return Ok(());
        }
        if !action.roles().contains(&self.role) {
            return Err(Denied::Role {
                name: Arc::clone(&self.name),
                role: self.role,
                action: action.to_string(),
                allowed: action.roles(),
            });
        }
        // The subject of a node is the node; its engines are of any service.
        let is_engine = self.role == Role::Node && matches!(action, Action::RegisterFor(_));
        match action.subject().filter(|_| !is_engine) {
            Some(subject) if !self.subject.is_empty() && !matches(&self.subject, subject) => {
                Err(Denied::Subject {
                    name: Arc::clone(&self.name),
                    role: self.role,
                    action: action.to_string(),
                    subject: Arc::clone(&self.subject),
                })
            }
            _ => Ok(()),
        }
    }

    /// The name of the token that proves it; empty for what something else proves.
    pub fn token(&self) -> &str {
        match self.proof {
            Proof::Token(_) => &self.name,
            Proof::None | Proof::Certificate => "",
        }
    }

    /// Who the audit says did it: the proven name, or who the caller claims to be where nothing is proven.
    pub fn actor(&self, claimed: &str) -> Actor {
        let claimed = audit::name_of(claimed);
        let is_claim = self.role == Role::Local && !claimed.is_empty();
        Actor {
            author: if is_claim {
                claimed
            } else {
                self.name.to_string()
            },
            role: self.role,
        }
    }
}

/// Why an identity may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its role does not allow it.
    #[error("`{name}` is {role} and may not {action}; that takes {}", either(.allowed))]
    Role {
        /// Who.
        name: Arc<str>,
        /// What it is.
        role: Role,
        /// What was asked for.
        action: String,
        /// Who may.
        allowed: &'static [Role],
    },
    /// It is bound to another node or service.
    #[error("`{name}` is {role} of `{subject}` only and may not {action}")]
    Subject {
        /// Who.
        name: Arc<str>,
        /// What it is.
        role: Role,
        /// What was asked for.
        action: String,
        /// What it is bound to.
        subject: Arc<str>,
    },
}

fn either(roles: &[Role]) -> String {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_text()).collect();
    roles.join(" or ")
}

#[cfg(test)]
mod tests;
