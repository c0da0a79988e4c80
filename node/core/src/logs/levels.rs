//! Levels of lines, and which lines each module writes.

use std::fmt;
use std::str::FromStr;

/// Longest name of a module.
const MODULE_BYTES_MAX: usize = 128;

/// How grave a line is; graver ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Each step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// What should not.
    Warn,
    /// What does not work.
    Error,
}

impl Level {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Trace, "trace", "TRACE"),
        (Self::Debug, "debug", "DEBUG"),
        (Self::Info, "info", "INFO"),
        (Self::Warn, "warn", "WARN"),
        (Self::Error, "error", "ERROR"),
    ];

    /// As lines have it.
    pub const fn as_written(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Reads what lines have.
    pub fn of_written(text: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find_map(|(level, _, written)| (written.as_bytes() == text).then_some(level))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[*self as usize].1)
    }
}

impl FromStr for Level {
    type Err = ();

    /// In any case; `warning` as well.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.eq_ignore_ascii_case("warning") {
            return Ok(Self::Warn);
        }
        let mut all = Self::ALL.into_iter();
        all.find_map(|(level, name, _)| name.eq_ignore_ascii_case(text).then_some(level))
            .ok_or(())
    }
}

/// No level of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no level (allowed: off, error, warn, info, debug, trace, or one for a module, such as \
     weir_node::peers=debug)"
)]
pub struct BadLevels(String);

/// Checks levels of modules: `LEVEL` for all, `MODULE=LEVEL` for one and those in it.
///
/// # Errors
/// The first that is none.
pub fn check_levels<'a>(levels: impl IntoIterator<Item = &'a str>) -> Result<(), BadLevels> {
    for text in levels {
        let (module, level) = text.split_once('=').unwrap_or(("all", text));
        let is_level = level == "off" || (level.parse::<Level>().is_ok() && level != "warning");
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let is_module =
            (1..=MODULE_BYTES_MAX).contains(&module.len()) && module.chars().all(is_part);
        if !is_level || !is_module {
            return Err(BadLevels(text.chars().take(60).collect()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_people_and_as_lines_have_them() {
        assert_eq!("WARNING".parse(), Ok(Level::Warn));
        assert_eq!("loud".parse::<Level>(), Err(()));
        for (level, name, written) in Level::ALL {
            assert_eq!(
                (name.parse(), Level::of_written(written.as_bytes())),
                (Ok(level), Some(level))
            );
            assert_eq!(
                (level.to_string().as_str(), level.as_written()),
                (name, written)
            );
        }
        assert!(Level::Error > Level::Warn && Level::Debug > Level::Trace);
    }

    #[test]
    fn a_module_has_a_level_and_nothing_else_is_one() {
        assert_eq!(
            check_levels(["info", "weir_node::peers=debug", "h2=off"]),
            Ok(())
        );
        for bad in [
            "",
            "loud",
            "warning",
            "=info",
            "a=",
            "a=b=info",
            "a b=info",
            "[span]=info",
            "a=1",
        ] {
            assert!(check_levels(["info", bad]).is_err(), "{bad}");
        }
        let long = format!("{}=info", "m".repeat(129));
        assert!(check_levels([&*long]).unwrap_err().to_string().len() < 250);
    }
}
