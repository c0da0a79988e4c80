//! What comes first when an engine is replaced: its end, or the one that takes its place.

use super::EndReason;

/// What a service has and may have, as far as it matters for a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Its engines in the whole mesh that are there to stay, and those on the way.
    pub engines: usize,
    /// Most engines that it may have.
    pub engines_max: usize,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// Another engine serves before this one is drained.
    SuccessorFirst,
    /// It is drained now, and another one is started for it.
    EndFirst,
}

impl Succession {
    /// How an engine is replaced for this reason. `forwarded` says that it has its VPN's forwarded port, which the next
    /// one gets only once it is free.
    pub fn of(reason: EndReason, forwarded: bool, places: Places) -> Self {
        // All others are out of traffic already, or must be at once.
        let serves_well = reason.leaves_it_serving();
        match serves_well && !forwarded && places.engines < places.engines_max {
            true => Self::SuccessorFirst,
            false => Self::EndFirst,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reason: EndReason, forwarded: bool, engines: usize) -> Succession {
        let places = Places {
            engines,
            engines_max: 2,
        };
        Succession::of(reason, forwarded, places)
    }

    #[test]
    fn only_one_that_serves_well_waits_for_its_successor_and_only_if_there_is_a_place_for_it() {
        assert_eq!(
            of(EndReason::Recycled, false, 1),
            Succession::SuccessorFirst
        );
        assert_eq!(
            of(EndReason::Outdated, false, 1),
            Succession::SuccessorFirst
        );
        assert_eq!(
            of(EndReason::Rebalanced, false, 1),
            Succession::SuccessorFirst
        );
        assert_eq!(of(EndReason::Recycled, false, 2), Succession::EndFirst);
        assert_eq!(of(EndReason::Recycled, true, 1), Succession::EndFirst);
        assert_eq!(of(EndReason::Unhealthy, false, 1), Succession::EndFirst);
    }
}
