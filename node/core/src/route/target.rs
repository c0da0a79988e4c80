//! Where a route leads.

use thiserror::Error;

use crate::ids::ServiceName;

/// The services do not make a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadTarget {
    /// No service at all.
    #[error("no service")]
    Empty,
    /// Every weight is zero.
    #[error("every weight is zero")]
    Weightless,
}

/// One service, or several that share the requests by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Each service with the sum of the weights up to and including its own.
    split: Vec<(ServiceName, u64)>,
    total: u64,
}

impl Target {
    /// All requests to one service.
    pub fn single(service: ServiceName) -> Self {
        Self {
            split: vec![(service, 1)],
            total: 1,
        }
    }

    /// Requests in proportion to the weights, which have no unit. A service with weight zero gets
    /// none.
    ///
    /// # Errors
    /// [`BadTarget`] if nothing could be chosen.
    pub fn weighted(services: Vec<(ServiceName, u32)>) -> Result<Self, BadTarget> {
        if services.is_empty() {
            return Err(BadTarget::Empty);
        }
        let mut total = 0;
        let mut split = Vec::with_capacity(services.len());
        for (service, weight) in services.into_iter().filter(|(_, weight)| *weight > 0) {
            total += u64::from(weight);
            split.push((service, total));
        }
        if total == 0 {
            return Err(BadTarget::Weightless);
        }
        Ok(Self { split, total })
    }

    /// The service for one request. The generator is not touched if there is only one.
    pub fn choose(&self, rng: &mut fastrand::Rng) -> &ServiceName {
        if let [(only, _)] = self.split.as_slice() {
            return only;
        }
        let ticket = rng.u64(..self.total);
        let index = self.split.partition_point(|(_, sum)| *sum <= ticket);
        &self.split[index].0
    }

    /// The services that requests may go to.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.split.iter().map(|(service, _)| service)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shared_by_weight() {
        let services = vec![("a".into(), 1), ("none".into(), 0), ("b".into(), 3)];
        let target = Target::weighted(services).unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut chosen = [0; 2];
        for _ in 0..10_000 {
            match target.choose(&mut rng).as_str() {
                "a" => chosen[0] += 1,
                "b" => chosen[1] += 1,
                other => panic!("{other} has no weight"),
            }
        }
        assert!((2_300..2_700).contains(&chosen[0]), "{chosen:?}");
    }

    #[test]
    fn a_target_can_always_choose() {
        assert_eq!(Target::weighted(vec![]), Err(BadTarget::Empty));
        let weightless = Target::weighted(vec![("a".into(), 0)]);
        assert_eq!(weightless, Err(BadTarget::Weightless));
        let heaviest = vec![("a".into(), u32::MAX), ("b".into(), u32::MAX)];
        assert!(Target::weighted(heaviest).is_ok());
    }
}
