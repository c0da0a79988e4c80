//! Which backends of a service are candidates at all: priority, zone and panic.

/// What the state of a backend means for the choice of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Takes work.
    Healthy,
    /// Out of service by its own fault; a candidate only in panic.
    Unhealthy,
    /// Not checked yet. Says nothing about the health of the pool, and is a candidate only in a
    /// panic that has nobody else.
    Untested,
    /// Taken out on purpose (draining or ejected by the operator); never a candidate.
    Withdrawn,
}

/// One backend as seen by [`choose_tier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Priority; lower numbers are used first.
    pub priority: u32,
    /// The zone it runs in, if known.
    pub zone: Option<&'a str>,
    /// Whether it can take work.
    pub fitness: Fitness,
}

/// When a tier or a zone holds enough healthy backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierConfig {
    /// Share of a tier that must be healthy for it to be used, in percent. When no tier reaches it,
    /// all backends are tried, because the few healthy ones would be overrun. 0 never panics.
    pub panic_percent: u32,
    /// Fewest healthy backends in the own zone for traffic to stay in it.
    pub zone_min_healthy: usize,
    /// Share of the own zone's backends that must be healthy for traffic to stay in it, in percent.
    pub zone_min_percent: u32,
}

impl Default for TierConfig {
    fn default() -> Self {
        Self {
            panic_percent: 50,
            zone_min_healthy: 1,
            zone_min_percent: 50,
        }
    }
}

/// The backends that may be picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// Indices into the members, ascending.
    pub members: Vec<usize>,
    /// The priority chosen; `None` in panic or when there is no candidate.
    pub priority: Option<u32>,
    /// Only backends of the own zone were kept.
    pub same_zone: bool,
    /// Too few are healthy, so that unhealthy ones are candidates too.
    pub panic: bool,
}

/// Chooses the candidates: the lowest priority number with enough healthy backends, and within it
/// the own zone if that has enough.
///
/// Shares are of the healthy and unhealthy together: backends that are withdrawn or untested say
/// nothing about the health of the pool. A tier that is healthy keeps the service out of panic
/// whatever the state of the tiers before it.
pub fn choose_tier(config: &TierConfig, own_zone: Option<&str>, members: &[Member<'_>]) -> Tier {
    let mut priorities: Vec<u32> = members.iter().map(|member| member.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let chosen = priorities.into_iter().find(|&priority| {
        let tier = members.iter().filter(|member| member.priority == priority);
        Census::of(tier).reaches(1, config.panic_percent)
    });
    match chosen {
        Some(priority) => healthy_tier(config, own_zone, members, priority),
        None if config.panic_percent == 0 => Tier::default(),
        None => panic_tier(members),
    }
}

fn healthy_tier(
    config: &TierConfig,
    own_zone: Option<&str>,
    members: &[Member<'_>],
    priority: u32,
) -> Tier {
    let in_tier = |member: &Member<'_>| member.priority == priority;
    let in_zone = |member: &Member<'_>| own_zone.is_some() && member.zone == own_zone;
    let zone = members.iter().filter(|m| in_tier(m) && in_zone(m));
    let same_zone =
        Census::of(zone).reaches(config.zone_min_healthy.max(1), config.zone_min_percent);
    Tier {
        members: indices(members, |member| {
            in_tier(member) && member.fitness == Fitness::Healthy && (!same_zone || in_zone(member))
        }),
        priority: Some(priority),
        same_zone,
        panic: false,
    }
}

fn panic_tier(members: &[Member<'_>]) -> Tier {
    let mut tried = indices(members, |member| {
        matches!(member.fitness, Fitness::Healthy | Fitness::Unhealthy)
    });
    if tried.is_empty() {
        tried = indices(members, |member| member.fitness == Fitness::Untested);
    }
    Tier {
        panic: !tried.is_empty(),
        members: tried,
        ..Tier::default()
    }
}

fn indices(members: &[Member<'_>], keep: impl Fn(&Member<'_>) -> bool) -> Vec<usize> {
    (0..members.len())
        .filter(|&index| keep(&members[index]))
        .collect()
}

struct Census {
    healthy: usize,
    counted: usize,
}

impl Census {
    fn of<'m, 'z: 'm>(members: impl Iterator<Item = &'m Member<'z>>) -> Self {
        let mut census = Self {
            healthy: 0,
            counted: 0,
        };
        for member in members {
            let healthy = member.fitness == Fitness::Healthy;
            census.healthy += usize::from(healthy);
            census.counted += usize::from(healthy || member.fitness == Fitness::Unhealthy);
        }
        census
    }

    fn reaches(&self, min_healthy: usize, percent: u32) -> bool {
        self.healthy >= min_healthy
            && self.healthy as u64 * 100 >= self.counted as u64 * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::Fitness::{Healthy, Unhealthy, Untested, Withdrawn};
    use super::*;

    fn pool<'a>(members: &[(u32, &'a str, Fitness)]) -> Vec<Member<'a>> {
        members
            .iter()
            .map(|&(priority, zone, fitness)| Member {
                priority,
                zone: Some(zone),
                fitness,
            })
            .collect()
    }

    fn choose(own_zone: &str, members: &[(u32, &str, Fitness)]) -> Tier {
        choose_tier(&TierConfig::default(), Some(own_zone), &pool(members))
    }

    #[test]
    fn the_lowest_priority_number_with_enough_healthy_backends_wins() {
        let tier = choose(
            "-",
            &[(1, "a", Healthy), (0, "a", Healthy), (0, "a", Unhealthy)],
        );
        assert_eq!((tier.members, tier.priority), (vec![1], Some(0)));
    }

    #[test]
    fn a_failed_tier_hands_over_to_the_next_without_panic() {
        let tier = choose(
            "-",
            &[(0, "a", Unhealthy), (0, "a", Unhealthy), (7, "a", Healthy)],
        );
        assert_eq!((tier.members, tier.priority), (vec![2], Some(7)));
        assert!(!tier.panic);
    }

    #[test]
    fn traffic_stays_in_a_zone_that_has_enough() {
        let tier = choose(
            "b",
            &[(0, "a", Healthy), (0, "b", Healthy), (0, "b", Unhealthy)],
        );
        assert_eq!((tier.members, tier.same_zone), (vec![1], true));
    }

    #[test]
    fn traffic_leaves_a_zone_that_is_mostly_down() {
        let tier = choose(
            "b",
            &[
                (0, "a", Healthy),
                (0, "a", Healthy),
                (0, "b", Healthy),
                (0, "b", Unhealthy),
                (0, "b", Unhealthy),
            ],
        );
        assert_eq!((tier.members, tier.same_zone), (vec![0, 1, 2], false));
    }

    #[test]
    fn backends_of_no_zone_are_not_in_the_zone_of_a_node_of_no_zone() {
        let mut members = pool(&[(0, "a", Healthy), (0, "a", Healthy)]);
        members[0].zone = None;
        let tier = choose_tier(&TierConfig::default(), None, &members);
        assert_eq!((tier.members, tier.same_zone), (vec![0, 1], false));
    }

    #[test]
    fn below_the_threshold_all_but_the_withdrawn_are_tried() {
        let tier = choose(
            "a",
            &[
                (0, "a", Healthy),
                (0, "a", Unhealthy),
                (0, "b", Unhealthy),
                (0, "a", Withdrawn),
                (0, "a", Untested),
            ],
        );
        assert_eq!((tier.members, tier.panic), (vec![0, 1, 2], true));
    }

    #[test]
    fn withdrawn_and_untested_backends_cause_no_panic() {
        let tier = choose(
            "-",
            &[
                (0, "a", Healthy),
                (0, "a", Withdrawn),
                (0, "a", Withdrawn),
                (0, "a", Untested),
            ],
        );
        assert_eq!((tier.members, tier.panic), (vec![0], false));
    }

    #[test]
    fn untested_backends_are_better_than_none() {
        let tier = choose("-", &[(0, "a", Untested), (0, "a", Withdrawn)]);
        assert_eq!((tier.members, tier.panic), (vec![0], true));
    }

    #[test]
    fn nobody_left_is_no_panic_but_no_candidate() {
        assert_eq!(choose("-", &[(0, "a", Withdrawn)]), Tier::default());
        assert_eq!(choose("-", &[]), Tier::default());
    }

    #[test]
    fn a_threshold_of_zero_never_panics() {
        let config = TierConfig {
            panic_percent: 0,
            ..TierConfig::default()
        };
        let one = pool(&[(0, "a", Healthy), (0, "a", Unhealthy), (0, "a", Unhealthy)]);
        assert_eq!(choose_tier(&config, None, &one).members, [0]);
        assert_eq!(choose_tier(&config, None, &one[1..]), Tier::default());
    }
}
