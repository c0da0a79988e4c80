//! How much load one run may make.

use std::fmt;
use std::time::Duration;

use crate::units::{format_duration, parse_duration};

/// Steps of one ramp.
pub const STEPS_MAX: usize = 32;
/// Requests a second.
pub const RATE_MAX: u32 = 50_000;
/// Connections of one run.
pub const CONNECTIONS_MAX: u32 = 4_096;
/// The shortest step.
pub const DURATION_MIN: Duration = Duration::from_millis(100);
/// The longest step.
pub const DURATION_MAX: Duration = Duration::from_secs(300);
/// Fewest rounds of a comparison: with fewer nothing could be shown.
pub const ROUNDS_MIN: u32 = 4;
/// Most rounds of a comparison.
pub const ROUNDS_MAX: u32 = 10;

/// A value that is not allowed, with what is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` {what}; allowed: {bound}")]
pub struct Refused {
    value: String,
    what: &'static str,
    bound: String,
}

fn refuse(value: impl fmt::Display, what: &'static str, bound: impl Into<String>) -> Refused {
    Refused {
        value: value.to_string(),
        what,
        bound: bound.into(),
    }
}

/// A whole number within bounds.
fn number(
    text: &str,
    what: &'static str,
    (min, max): (u32, u32),
    unit: &str,
) -> Result<u32, Refused> {
    let number = text.trim().parse::<u32>().ok();
    let allowed = number.filter(|number| (min..=max).contains(number));
    allowed.ok_or_else(|| refuse(text.trim(), what, format!("{min} to {max} {unit}")))
}

/// Requests a second.
///
/// # Errors
/// [`Refused`] when it is no number or out of bounds.
pub fn rate(text: &str) -> Result<u32, Refused> {
    number(text, "is no rate", (1, RATE_MAX), "requests a second")
}

/// How many connections.
///
/// # Errors
/// [`Refused`] when it is no number or out of bounds.
pub fn connections(text: &str) -> Result<u32, Refused> {
    let bounds = (1, CONNECTIONS_MAX);
    number(text, "is no number of connections", bounds, "connections")
}

/// How many rounds a comparison has; each has four steps.
///
/// # Errors
/// [`Refused`] when it is no number or out of bounds.
pub fn rounds(text: &str) -> Result<u32, Refused> {
    let bounds = (ROUNDS_MIN, ROUNDS_MAX);
    number(text, "is no number of rounds", bounds, "rounds")
}

/// How long a step lasts.
///
/// # Errors
/// [`Refused`] when it is no duration or out of bounds.
pub fn duration(text: &str) -> Result<Duration, Refused> {
    let duration = parse_duration(text).ok();
    let allowed = duration.filter(|length| (DURATION_MIN..=DURATION_MAX).contains(length));
    let bound = || {
        let (min, max) = (DURATION_MIN, DURATION_MAX);
        format!("{} to {}", format_duration(min), format_duration(max))
    };
    allowed.ok_or_else(|| refuse(text, "is no length of a step", bound()))
}

/// A percentage.
///
/// # Errors
/// [`Refused`] when it is no number of 0 to 100.
pub fn percent(text: &str) -> Result<f64, Refused> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    let allowed = number.filter(|number| (0.0..=100.0).contains(number));
    allowed.ok_or_else(|| refuse(text, "is no percentage", "0 to 100"))
}

/// The rates of a ramp, each higher than the one before.
///
/// # Errors
/// [`Refused`] when one of them is no rate, they do not rise, or there are too many.
pub fn ramp(text: &str) -> Result<Vec<u32>, Refused> {
    let rates = text.split(',').map(rate).collect::<Result<Vec<_>, _>>()?;
    if rates.len() > STEPS_MAX {
        let what = "has too many steps";
        return Err(refuse(text, what, format!("1 to {STEPS_MAX} steps")));
    }
    match rates.windows(2).find(|pair| pair[0] >= pair[1]) {
        None => Ok(rates),
        Some(pair) => Err(refuse(
            pair[1],
            "does not rise",
            format!("more than {}, the rate before", pair[0]),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T: fmt::Debug>(result: Result<T, Refused>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_ramp_rises() {
        assert_eq!(ramp("10, 50,100"), Ok(vec![10, 50, 100]));
        assert_eq!(ramp("7"), Ok(vec![7]));
        let expected = "`50` does not rise; allowed: more than 50, the rate before";
        assert_eq!(told(ramp("10,50,50")), expected);
        let expected = "`` is no rate; allowed: 1 to 50000 requests a second";
        assert_eq!(told(ramp("10,,50")), expected);
        let long: Vec<String> = (1..=33).map(|rate| rate.to_string()).collect();
        assert!(
            told(ramp(&long.join(","))).ends_with("has too many steps; allowed: 1 to 32 steps")
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named_with_its_bound() {
        assert_eq!(
            told(rate("50001")),
            "`50001` is no rate; allowed: 1 to 50000 requests a second"
        );
        assert!(told(connections("0")).ends_with("allowed: 1 to 4096 connections"));
        assert!(told(rounds("3")).ends_with("allowed: 4 to 10 rounds"));
        assert_eq!(
            told(duration("6m")),
            "`6m` is no length of a step; allowed: 100ms to 5m"
        );
        assert_eq!(percent("99.5%"), Ok(99.5));
        assert!(told(percent("NaN")).starts_with("`NaN` is no percentage"));
    }
}
