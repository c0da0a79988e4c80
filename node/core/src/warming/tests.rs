use super::*;
use crate::calendar::rfc3339;

/// 2026-03-01T12:00:00Z, a Sunday.
const NOON: u64 = 1_772_366_400_000;

fn next(expression: &str, unix_ms: u64) -> String {
    let cron = Cron::parse(expression).unwrap();
    rfc3339(cron.next_after(unix_ms).unwrap())
}

#[test]
fn the_next_time_is_the_first_one_after() {
    for (expression, time) in [
        ("* * * * *", "2026-03-01T12:01:00Z"),
        ("0 6 * * *", "2026-03-02T06:00:00Z"),
        ("0 12 * * *", "2026-03-02T12:00:00Z"),
        ("*/15 * * * *", "2026-03-01T12:15:00Z"),
        ("5/20 * * * *", "2026-03-01T12:05:00Z"),
        ("0-10/5 13,14 * * *", "2026-03-01T13:00:00Z"),
        ("30 8 * * mon-fri", "2026-03-02T08:30:00Z"),
        ("0 0 1 * *", "2026-04-01T00:00:00Z"),
        ("0 0 31 * *", "2026-03-31T00:00:00Z"),
        ("59 23 31 DEC *", "2026-12-31T23:59:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 29 2 */1", "2028-02-29T00:00:00Z"),
        ("0 0 * * 0", "2026-03-08T00:00:00Z"),
        ("0 0 * * 7", "2026-03-08T00:00:00Z"),
        ("0 0 * * Sun", "2026-03-08T00:00:00Z"),
        ("0 0 * * 6-7", "2026-03-07T00:00:00Z"),
        ("1 * * * */6", "2026-03-01T12:01:00Z"),
    ] {
        assert_eq!(next(expression, NOON), time, "{expression}");
    }
    assert_eq!(next("0 12 * * *", NOON - 1), "2026-03-01T12:00:00Z");
    assert_eq!(next("5/20 * * * *", NOON + 300_000), "2026-03-01T12:25:00Z");
}

/// As POSIX has it.
#[test]
fn of_two_restricted_days_either_suffices() {
    assert_eq!(next("0 0 13 * fri", NOON), "2026-03-06T00:00:00Z");
    assert_eq!(next("0 0 13 * */5", NOON), "2026-03-13T00:00:00Z");
    assert_eq!(next("0 0 13 4 fri", NOON), "2026-04-03T00:00:00Z");
}

#[test]
fn a_leap_day_is_found_across_a_year_that_has_none() {
    let year_2096 = 3_981_312_000_000;
    assert_eq!(next("0 0 29 2 *", year_2096), "2104-02-29T00:00:00Z");
}

#[test]
fn errors_name_the_field_the_value_and_the_bound() {
    for (expression, told) in [
        (
            "60 * * * *",
            "cron field minute: \"60\" is not a number from 0 to 59",
        ),
        (
            "* 24 * * *",
            "cron field hour: \"24\" is not a number from 0 to 23",
        ),
        (
            "* * 0 * *",
            "cron field day-of-month: \"0\" is not a number from 1 to 31",
        ),
        (
            "* * * foo *",
            "cron field month: \"foo\" is not a number from 1 to 12 or a name from jan to dec",
        ),
        (
            "* * * * 8",
            "cron field day-of-week: \"8\" is not a number from 0 to 7 or a name from sun to sat",
        ),
        (
            "*/0 * * * *",
            "cron field minute: \"0\" is not a step from 1 to 59",
        ),
        (
            "*/60 * * * *",
            "cron field minute: \"60\" is not a step from 1 to 59",
        ),
        (
            "20-10 * * * *",
            "cron field minute: \"20-10\" is not a range from the lower to the higher value",
        ),
        (
            "1,,2 * * * *",
            "cron field minute: \"\" is not a number from 0 to 59",
        ),
        (
            "+5 * * * *",
            "cron field minute: \"+5\" is not a number from 0 to 59",
        ),
        (
            "1-2-3 * * * *",
            "cron field minute: \"2-3\" is not a number from 0 to 59",
        ),
        (
            "99999999999 * * * *",
            "cron field minute: \"99999999999\" is not a number from 0 to 59",
        ),
        (
            "* * * *",
            "cron \"* * * *\" has 4 fields, expected 5: minute hour day-of-month month day-of-week",
        ),
        (
            "0 0 30 2 *",
            "cron \"0 0 30 2 *\" never comes: no month of it has such a day",
        ),
    ] {
        assert_eq!(Cron::parse(expression).unwrap_err().to_string(), told);
    }
}

#[test]
fn jitter_comes_after_and_is_bounded() {
    let cron = Cron::parse("0 13 * * *").unwrap();
    let at =
        |jitter, random| cron.next_with_jitter(NOON, jitter, random).unwrap() - NOON - 3_600_000;
    assert_eq!((at(0, u64::MAX), at(1_000, 1_000)), (0, 1_000));
    assert_eq!(at(u64::MAX, JITTER_MAX_MS), JITTER_MAX_MS);
    assert!((0..500).all(|random| at(u64::MAX, random * 7_919) <= JITTER_MAX_MS));
}

#[test]
fn after_the_last_year_nothing_comes() {
    let cron = Cron::parse("0 0 1 1 *").unwrap();
    assert_eq!(cron.next_after(crate::calendar::LAST_UNIX_MS), None);
    assert_eq!(cron.next_after(u64::MAX), None);
}
