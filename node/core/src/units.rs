//! Durations and byte sizes as people write them.

use std::time::Duration;

/// Why a text is no duration or byte size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// A part is not a number followed by one of the units.
    #[error("expected a number and a unit ({units}), for example {example}")]
    Shape {
        /// The units that are known.
        units: &'static str,
        /// A text that would be right.
        example: &'static str,
    },
    /// Does not fit in 64 bits.
    #[error("is too large")]
    TooLarge,
}

const DURATION: UnitError = UnitError::Shape {
    units: "ms, s, m, h, d",
    example: "\"250ms\" or \"1m 30s\"",
};
const BYTES: UnitError = UnitError::Shape {
    units: "B, KiB, MiB, GiB",
    example: "\"64KiB\"",
};

/// Parses `"250ms"`, `"1.5s"`, `"1m 30s"`, `"2h"`, `"1d"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(UnitError::Empty);
    }
    while !rest.is_empty() {
        let (number, unit, after) = split_quantity(rest).ok_or(DURATION)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(DURATION),
        };
        let number: f64 = number.parse().map_err(|_| DURATION)?;
        let part =
            Duration::try_from_secs_f64(number * seconds).map_err(|_| UnitError::TooLarge)?;
        total = total.checked_add(part).ok_or(UnitError::TooLarge)?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(
        u64::try_from(total.as_millis()).map_err(|_| UnitError::TooLarge)?,
    ))
}

/// Parses `"512B"`, `"64KiB"`, `"5MB"` (decimal), `"2GiB"`.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let (number, unit, rest) = split_quantity(text).ok_or(BYTES)?;
    if !rest.trim().is_empty() {
        return Err(BYTES);
    }
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(BYTES),
    };
    let number: u64 = number.parse().map_err(|_| BYTES)?;
    number.checked_mul(factor).ok_or(UnitError::TooLarge)
}

/// The shortest form that [`parse_duration`] reads back.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, length) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if ms >= length && ms.is_multiple_of(length) {
            return format!("{}{unit}", ms / length);
        }
    }
    format!("{ms}ms")
}

/// For people: the two largest units, such as `59m 47s`, and nothing of what is beneath; milliseconds below a second.
pub fn format_rough(duration: Duration) -> String {
    let (seconds, ms) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 && ms > 0 {
        return format!("{ms}ms");
    }
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0);
    let (first, second) = match first {
        Some(at) => (parts[at], parts.get(at + 1)),
        None => (parts[3], None),
    };
    let first = format!("{}{}", first.0, first.1);
    match second {
        Some((count @ 1.., unit)) => format!("{first} {count}{unit}"),
        _ => first,
    }
}

/// The shortest form that [`parse_bytes`] reads back.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, length) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= length && bytes.is_multiple_of(length) {
            return format!("{}{unit}", bytes / length);
        }
    }
    format!("{bytes}B")
}

fn split_quantity(text: &str) -> Option<(&str, &str, &str)> {
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, rest) = text.split_at(unit_at);
    let rest = rest.trim_start();
    let unit_end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    (!number.is_empty() && !unit.is_empty()).then_some((number, unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("1.5s", 1_500),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "1..2s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("99999999999999999999999d"),
            Err(UnitError::TooLarge)
        );
    }

    #[test]
    fn byte_sizes_read_as_people_write_them() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("5 MB"), Ok(5_000_000));
        assert_eq!(parse_bytes("99999999999GiB"), Err(UnitError::TooLarge));
        assert!(parse_bytes("64 KiB extra").is_err());
    }

    #[test]
    fn people_are_told_two_units_of_a_duration() {
        for (ms, told) in [
            (0, "0s"),
            (1, "1ms"),
            (999, "999ms"),
            (1_999, "1s"),
            (60_000, "1m"),
            (3_587_344, "59m 47s"),
            (3_600_999, "1h"),
            (7_384_000, "2h 3m"),
            (86_400_000 + 59_000, "1d"),
            (90_061_000, "1d 1h"),
            (u64::MAX, "213503982334d 14h"),
        ] {
            assert_eq!(format_rough(Duration::from_millis(ms)), told);
        }
    }

    #[test]
    fn what_is_formatted_reads_back() {
        for ms in [0, 1, 999, 1_000, 61_000, 120_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        for bytes in [0, 1, 1_023, 1_024, 1_536, 5 << 20, 1 << 40] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }
    }
}
