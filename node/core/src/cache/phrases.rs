//! What every answer from the cache says of itself, written once for many.

use http::{HeaderName, HeaderValue};

use super::status::CacheStatus;

/// What tells clients what the cache did (RFC 9211).
pub static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What many answers of one second have in common is written once.
const SLOTS: usize = 64;

/// Values of `Age` and `Cache-Status` that were written last. Every thread has its own.
#[derive(Debug)]
pub struct Phrases {
    ages: Box<[Option<(u64, HeaderValue)>; SLOTS]>,
    hits: Box<[Option<(i64, HeaderValue)>; SLOTS]>,
    cache: Box<str>,
}

impl Phrases {
    /// None yet, of the cache of this name.
    pub fn new(cache: &str) -> Self {
        Self {
            ages: Box::new([const { None }; SLOTS]),
            hits: Box::new([const { None }; SLOTS]),
            cache: cache.into(),
        }
    }

    /// `Age` in seconds (RFC 9111 section 5.1).
    pub fn age(&mut self, seconds: u64) -> HeaderValue {
        let slot = &mut self.ages[(seconds % SLOTS as u64) as usize];
        match slot {
            Some((known, value)) if *known == seconds => value.clone(),
            _ => slot.insert((seconds, HeaderValue::from(seconds))).1.clone(),
        }
    }

    /// `Cache-Status` of a hit that stays fresh for so many seconds, negative if it is stale.
    pub fn hit(&mut self, ttl_s: i64) -> Option<HeaderValue> {
        let slot = &mut self.hits[ttl_s.rem_euclid(SLOTS as i64) as usize];
        if let Some((known, value)) = slot
            && *known == ttl_s
        {
            return Some(value.clone());
        }
        let status = CacheStatus {
            ttl_s: Some(ttl_s),
            ..CacheStatus::hit(&self.cache)
        };
        let value = HeaderValue::from_str(&status.to_string()).ok()?;
        Some(slot.insert((ttl_s, value)).1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_share_a_slot_are_told_apart() {
        let mut phrases = Phrases::new("node-1");
        for round in 0..2 {
            for seconds in [0, 7, 64, 71, 128, u64::MAX] {
                assert_eq!(
                    phrases.age(seconds),
                    HeaderValue::from(seconds),
                    "round {round}"
                );
            }
            for ttl_s in [0, 3, -61, 67, i64::MIN, i64::MAX] {
                let expected = format!("node-1; hit; ttl={ttl_s}");
                assert_eq!(phrases.hit(ttl_s).unwrap(), expected, "round {round}");
            }
        }
    }
}
