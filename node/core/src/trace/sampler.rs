//! Which traces are recorded.

use thiserror::Error;

use super::context::TraceContext;

/// The ratio is not within 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("sampling ratio {0} is not between 0 and 1")]
pub struct BadRatio(pub f64);

/// Records a share of the traces that start here, and of the others what their start decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    ratio: f64,
}

impl Sampler {
    /// Records this share of new traces, between 0 and 1.
    ///
    /// # Errors
    /// [`BadRatio`] if it is outside, or no number.
    pub fn new(ratio: f64) -> Result<Self, BadRatio> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(Self { ratio })
        } else {
            Err(BadRatio(ratio))
        }
    }

    /// Whether a trace is recorded. With a parent, its decision stands, so that a trace is recorded
    /// as a whole or not at all; the generator is then not touched.
    pub fn decide(&self, parent: Option<&TraceContext>, rng: &mut fastrand::Rng) -> bool {
        match parent {
            Some(parent) => parent.sampled,
            // The generator's numbers are below 1, so that a ratio of 1 is always.
            None => self.ratio > 0.0 && rng.f64() < self.ratio,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn rng() -> fastrand::Rng {
        fastrand::Rng::with_seed(1)
    }

    fn share(ratio: f64) -> usize {
        let (sampler, mut rng) = (Sampler::new(ratio).unwrap(), rng());
        (0..10_000)
            .filter(|_| sampler.decide(None, &mut rng))
            .count()
    }

    #[test]
    fn new_traces_are_sampled_by_ratio() {
        assert_eq!(share(0.0), 0);
        assert_eq!(share(1.0), 10_000);
        assert!((900..1_100).contains(&share(0.1)));
    }

    #[test]
    fn the_parent_decides() {
        let sampled = TraceContext::root(&mut rng(), true);
        let unsampled = TraceContext::root(&mut rng(), false);
        assert!(
            Sampler::new(0.0)
                .unwrap()
                .decide(Some(&sampled), &mut rng())
        );
        assert!(
            !Sampler::new(1.0)
                .unwrap()
                .decide(Some(&unsampled), &mut rng())
        );
    }

    #[test]
    fn ratios_outside_zero_and_one_are_refused() {
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Sampler::new(ratio).is_err());
        }
    }
}
