//! Schedules against a model that looks at every minute.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use weir_core::calendar::rfc3339;
use weir_core::warming::Cron;

const MINUTE_MS: u64 = 60_000;

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => value.clone().prop_map(|value| value.to_string()),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (1..=most.min(6)).prop_map(|step| format!("*/{step}")),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Whether a field that is made above holds a value.
fn holds(field: &str, value: u32, least: u32) -> bool {
    field.split(',').any(|part| match part.split_once('-') {
        Some((from, to)) => (from.parse().unwrap()..=to.parse().unwrap()).contains(&value),
        None if part == "*" => true,
        None => match part.strip_prefix("*/") {
            Some(step) => (value - least).is_multiple_of(step.parse().unwrap()),
            None => part.parse() == Ok(value),
        },
    })
}

fn is_due(fields: &[String; 5], unix_ms: u64) -> bool {
    let text = rfc3339(unix_ms);
    let number = |from: usize| text[from..from + 2].parse::<u32>().unwrap();
    let weekday = ((unix_ms / 86_400_000 + 4) % 7) as u32;
    let [minute, hour, day, month, of_week] = fields;
    let (is_day, is_weekday) = (holds(day, number(8), 1), holds(of_week, weekday, 0));
    let is_either = match day.starts_with('*') || of_week.starts_with('*') {
        true => is_day && is_weekday,
        false => is_day || is_weekday,
    };
    let is_time = holds(minute, number(14), 0) && holds(hour, number(11), 0);
    is_time && holds(month, number(5), 1) && is_either
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_next_time_is_due_and_none_before_it_is(
        (minute, hour) in (field(0, 59), field(0, 23)),
        (day, month, of_week) in (field(1, 31), field(1, 12), field(0, 6)),
        from in 0..4_000_000_000_000_u64,
    ) {
        let fields = [minute, hour, day, month, of_week];
        let Ok(cron) = Cron::parse(&fields.join(" ")) else {
            return Ok(());
        };
        let next = cron.next_after(from).unwrap();
        prop_assert!(next > from && next % MINUTE_MS == 0);
        prop_assert!(is_due(&fields, next), "{fields:?} {}", rfc3339(next));
        // The days at both ends: a schedule that rests for months has many minutes.
        let between = from / MINUTE_MS + 1..next / MINUTE_MS;
        let looked_at = between.clone().take(3_000).chain(between.rev().take(3_000));
        for minute in looked_at {
            let at = minute * MINUTE_MS;
            prop_assert!(!is_due(&fields, at), "{fields:?} {}", rfc3339(at));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-0-9*/,a-z ]{0,24}") {
        let _ = Cron::parse(&text);
    }
}
