//! Where a backend stands.

use std::time::Instant;

use super::slow_start::FULL_PERMILLE;
use crate::balance::Fitness;

/// Where a backend stands: the one answer that follows from checks, failures, operator and ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In service.
    In,
    /// In service with part of its share.
    SlowStart {
        /// Share in thousandths of its weight.
        share_permille: u32,
    },
    /// New, and no active check has passed yet.
    Pending,
    /// Active checks fail.
    Unhealthy,
    /// Out for its failures in traffic, or by the operator.
    Ejected {
        /// When it comes back by itself; `None` waits for the operator.
        until: Option<Instant>,
        /// The operator ejected it.
        by_hand: bool,
    },
    /// Finishes what it has and takes nothing new.
    Draining {
        /// When what still runs is cut.
        deadline: Instant,
    },
    /// Drained; may be taken away.
    Drained {
        /// The deadline passed with requests in flight; the caller must cut those.
        cut: bool,
    },
}

impl Standing {
    /// Whether it takes new work.
    pub fn takes_work(self) -> bool {
        matches!(self, Self::In | Self::SlowStart { .. })
    }

    /// Factor for the configured weight, in thousandths. It is full for backends that take no work:
    /// in panic they are candidates too.
    pub fn share_permille(self) -> u32 {
        match self {
            Self::SlowStart { share_permille } => share_permille,
            _ => FULL_PERMILLE,
        }
    }

    /// What it means for the choice of candidates.
    pub fn fitness(self) -> Fitness {
        match self {
            Self::In | Self::SlowStart { .. } => Fitness::Healthy,
            Self::Pending => Fitness::Untested,
            Self::Unhealthy | Self::Ejected { by_hand: false, .. } => Fitness::Unhealthy,
            Self::Ejected { by_hand: true, .. } | Self::Draining { .. } | Self::Drained { .. } => {
                Fitness::Withdrawn
            }
        }
    }
}
