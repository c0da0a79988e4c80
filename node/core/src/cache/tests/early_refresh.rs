//! Refreshing before the end.

use super::*;
use crate::cache::is_due;

#[test]
fn early_refresh_grows_likely_as_the_end_comes_near() {
    let mut stored = with_cache_control("max-age=60");
    let share = |stored: &Stored, now: UnixMs| {
        let draws = (1..=1_000).map(|draw| f64::from(draw) / 1_000.0);
        draws
            .filter(|uniform| is_due(stored, 1.0, *uniform, now))
            .count()
    };
    assert_eq!(
        share(&stored, UnixMs(stored.fresh_until.0 - 1)),
        0,
        "a fetch costs nothing"
    );
    stored.requested_at = UnixMs(CAME.0 - 1_000);
    // The chance is exp(-remaining / cost).
    for (remaining_ms, expected) in [(10_000, 0), (3_000, 49), (1_000, 367), (100, 904), (0, 0)] {
        let found = share(&stored, UnixMs(stored.fresh_until.0 - remaining_ms));
        assert!(found.abs_diff(expected) <= 1, "{remaining_ms} {found}");
    }
    assert!(!is_due(&stored, 1.0, f64::NAN, CAME));
    stored.fresh_until = UnixMs(CAME.0 + 708_000);
    assert!(
        is_due(&stored, 1.0, 0.0, CAME),
        "the least draw comes first of all"
    );
    stored.fresh_until = UnixMs(CAME.0 + 710_000);
    assert!(!is_due(&stored, 1.0, 0.0, CAME));
    let no_cache = with_cache_control("no-cache");
    assert!(!is_due(&no_cache, 100.0, 0.0, CAME));
}
