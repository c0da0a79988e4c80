//! Which lines a reader wants.

use std::time::Duration;

use memchr::memmem;

use super::line::{self, escape};
use super::{Head, Level};
use crate::calendar;

/// Lines of one answer.
pub const LINES_MAX: usize = 1_000;
/// Bytes that are looked for.
pub const GREP_BYTES_MAX: usize = 1_024;
/// Nothing is older that anybody asks for.
const SINCE_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// As much of something wrong is told.
const SHOWN_CHARS: usize = 80;

/// Which lines a reader wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// No older than this; `None` for any age.
    pub since: Option<Duration>,
    /// At least as grave; `None` for all, also those that have no level.
    pub level: Option<Level>,
    /// What a line must hold, byte for byte; empty for anything.
    grep: String,
    /// The same, as a line of this node has it.
    escaped: String,
    /// The newest so many, at least one.
    pub lines_max: usize,
}

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// It is no level.
    #[error("level: `{0}` is none (allowed: error, warn, info, debug, trace)")]
    Level(String),
    /// It is too long.
    #[error("grep: {0} bytes (allowed: 0 to {GREP_BYTES_MAX})")]
    Grep(usize),
    /// It is out of bounds.
    #[error("lines: {0} is out of bounds (1 to {1})")]
    Lines(usize, usize),
    /// It is too long ago.
    #[error("since: is longer ago than 3650 days")]
    Since,
}

/// What is to become of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is wanted.
    Wanted,
    /// It is not.
    Unwanted,
    /// It is too old, and all before it are.
    TooOld,
}

impl Query {
    /// Checks what was asked for; an empty level is all of them, 0 lines as many as may be.
    ///
    /// # Errors
    /// The first that is wrong, with its bound.
    pub fn new(
        since: Option<Duration>,
        level: &str,
        grep: &str,
        lines: usize,
        lines_max: usize,
    ) -> Result<Self, BadQuery> {
        let shown = |text: &str| text.chars().take(SHOWN_CHARS).collect();
        let level = match level {
            "" => None,
            text => Some(text.parse().map_err(|()| BadQuery::Level(shown(text)))?),
        };
        if grep.len() > GREP_BYTES_MAX {
            return Err(BadQuery::Grep(grep.len()));
        }
        if since.is_some_and(|since| since > SINCE_MAX) {
            return Err(BadQuery::Since);
        }
        if lines > lines_max {
            return Err(BadQuery::Lines(lines, lines_max));
        }
        let mut escaped = String::with_capacity(grep.len());
        escape(grep, &mut escaped);
        Ok(Self {
            since,
            level,
            grep: grep.to_owned(),
            escaped,
            lines_max: if lines == 0 { lines_max } else { lines },
        })
    }

    /// What a line must hold.
    pub fn grep(&self) -> &str {
        &self.grep
    }

    /// The oldest time that is wanted, as lines have it.
    pub fn oldest(&self, now_unix_ms: u64) -> Option<String> {
        let age_ms = u64::try_from(self.since?.as_millis()).unwrap_or(u64::MAX);
        Some(calendar::rfc3339_ms(now_unix_ms.saturating_sub(age_ms)))
    }

    /// What is to become of a line, where `oldest` is what [`Self::oldest`] told.
    pub fn judge(&self, line: &[u8], oldest: Option<&str>) -> Judged {
        match line::head(line) {
            Some(Head { time, .. }) if oldest.is_some_and(|oldest| time < oldest.as_bytes()) => {
                Judged::TooOld
            }
            Some(Head { level, .. }) if self.level.is_some_and(|least| level < least) => {
                Judged::Unwanted
            }
            Some(_) => Self::holds(line, &self.escaped),
            // What others wrote into the file has no level and no time.
            None if self.level.is_some() || line.trim_ascii().is_empty() => Judged::Unwanted,
            None => Self::holds(line, &self.grep),
        }
    }

    fn holds(line: &[u8], needle: &str) -> Judged {
        match needle.is_empty() || memmem::find(line, needle.as_bytes()).is_some() {
            true => Judged::Wanted,
            false => Judged::Unwanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Writer;

    fn query(since: u64, level: &str, grep: &str) -> Query {
        let since = (since > 0).then(|| Duration::from_millis(since));
        Query::new(since, level, grep, 0, LINES_MAX).unwrap()
    }

    fn line(at_unix_ms: u64, level: Level, message: &str) -> Vec<u8> {
        let mut writer = Writer::new(at_unix_ms, level, "weir_node");
        writer.text("message", message);
        writer.finish().into_bytes()
    }

    #[test]
    fn a_line_is_judged_by_its_age_its_level_and_what_it_holds() {
        let line = line(5_000, Level::Warn, "it says \"no\"");
        let judge = |query: &Query| query.judge(&line, query.oldest(10_000).as_deref());
        assert_eq!(judge(&query(0, "", "")), Judged::Wanted);
        assert_eq!(judge(&query(5_000, "warn", "\"no\"")), Judged::Wanted);
        assert_eq!(judge(&query(4_999, "", "")), Judged::TooOld);
        assert_eq!(judge(&query(0, "error", "")), Judged::Unwanted);
        assert_eq!(judge(&query(0, "debug", "yes")), Judged::Unwanted);
        assert_eq!(
            query(20_000, "", "").oldest(10_000).unwrap(),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn what_others_wrote_is_found_only_by_what_it_holds() {
        let judge =
            |query: &Query| query.judge(b"panicked at \"x\" \xff", query.oldest(10_000).as_deref());
        assert_eq!(judge(&query(0, "", "\"x\"")), Judged::Wanted);
        assert_eq!(judge(&query(1, "", "")), Judged::Wanted);
        assert_eq!(judge(&query(0, "trace", "")), Judged::Unwanted);
        assert_eq!(query(0, "", "").judge(b" \t", None), Judged::Unwanted);
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused_with_its_bound() {
        let new = |since, level, grep: &str, lines| {
            let refused = Query::new(since, level, grep, lines, LINES_MAX);
            refused.unwrap_err().to_string()
        };
        let hour = Some(Duration::from_secs(3_600));
        assert!(new(hour, "loud", "", 0).starts_with("level: `loud` is none (allowed: error"));
        assert_eq!(
            new(hour, "", &"x".repeat(1_025), 0),
            "grep: 1025 bytes (allowed: 0 to 1024)"
        );
        assert_eq!(
            new(hour, "", "", 1_001),
            "lines: 1001 is out of bounds (1 to 1000)"
        );
        assert!(new(Some(Duration::MAX), "", "", 0).starts_with("since: "));
        assert!(new(hour, &"x".repeat(9_999), "", 0).len() < 200);
    }
}
