//! How a node stands to the profile that is wanted there.

use weir_proto::control::v1::{ApplyStatus, NodeInfo, Presence};

/// What became of the wanted profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Standing {
    /// It is in force.
    InSync,
    /// The node refused it; what was in force stays.
    Refused,
    /// It was not offered yet, or not answered yet.
    Pending,
    /// The node does not answer.
    Stale,
}

impl Standing {
    /// Of one node, by what the control plane knows of it.
    pub(in crate::cli) fn of(node: &NodeInfo) -> Self {
        let wanted = &node.wanted_hash;
        let state = node.profile.as_ref();
        let is_wanted = |hash: &[u8]| hash == wanted.as_slice();
        if wanted.is_empty() || state.is_some_and(|state| is_wanted(&state.effective_hash)) {
            return Self::InSync;
        }
        let refused = state.is_some_and(|state| {
            state.last_attempt() == ApplyStatus::Rejected && is_wanted(&state.offered_hash)
        });
        match (refused, node.stale) {
            (true, _) => Self::Refused,
            (false, true) => Self::Stale,
            (false, false) => Self::Pending,
        }
    }

    /// As people and scripts read it.
    pub(in crate::cli) fn as_text(self) -> &'static str {
        match self {
            Self::InSync => "in sync",
            Self::Refused => "refused",
            Self::Pending => "pending",
            Self::Stale => "stale",
        }
    }
}

/// Whether its stream is open.
pub(in crate::cli) fn is_connected(node: &NodeInfo) -> bool {
    node.presence() == Presence::Connected
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::control::v1::ProfileState;

    fn node(wanted: u8, offered: u8, effective: u8, attempt: ApplyStatus) -> NodeInfo {
        NodeInfo {
            wanted_hash: vec![wanted],
            profile: Some(ProfileState {
                offered_hash: vec![offered],
                effective_hash: vec![effective],
                last_attempt: attempt.into(),
                ..ProfileState::default()
            }),
            ..NodeInfo::default()
        }
    }

    #[test]
    fn only_the_wanted_profile_counts() {
        let of = |node: NodeInfo| Standing::of(&node);
        assert_eq!(of(node(2, 2, 2, ApplyStatus::Applied)), Standing::InSync);
        assert_eq!(of(node(2, 2, 1, ApplyStatus::Rejected)), Standing::Refused);
        // It refused an older one; the wanted one was not offered yet.
        assert_eq!(of(node(3, 2, 1, ApplyStatus::Rejected)), Standing::Pending);
        assert_eq!(of(node(2, 2, 1, ApplyStatus::Applied)), Standing::Pending);
        let stale = NodeInfo {
            stale: true,
            ..node(2, 2, 1, ApplyStatus::Unspecified)
        };
        assert_eq!(of(stale), Standing::Stale);
        assert_eq!(of(NodeInfo::default()), Standing::InSync);
    }
}
