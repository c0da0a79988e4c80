//! How often an engine was used, by counts that others keep.

/// Uses counted elsewhere, by a count that is asked for again and again. What ran before it was first asked for is not
/// counted, and a count that falls, because who counted is gone or has begun anew, takes nothing away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsesElsewhere {
    seen: Option<u64>,
    uses: u64,
}

impl UsesElsewhere {
    /// The count is this now.
    pub fn see(&mut self, count: u64) {
        let before = self.seen.replace(count).unwrap_or(count);
        self.uses += count.saturating_sub(before);
    }

    /// Uses so far.
    pub fn uses(&self) -> u64 {
        self.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_and_neither_what_was_before_nor_a_count_that_begins_anew() {
        let mut elsewhere = UsesElsewhere::default();
        let uses = [500, 500, 510, 3, 8].map(|count| {
            elsewhere.see(count);
            elsewhere.uses()
        });
        assert_eq!(uses, [0, 0, 10, 10, 15]);
    }
}
