//! One line: a JSON object (RFC 8259) that begins with time and level.

use super::Level;
use crate::calendar::{self, LAST_UNIX_MS};

/// Bytes of one line; what is longer is cut.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Bytes of one value; what is longer is cut.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a time, which sort as times do.
const TIME_BYTES: usize = 24;

const BEFORE_TIME: &[u8] = b"{\"timestamp\":\"";
const BEFORE_LEVEL: &[u8] = b"\",\"level\":\"";

/// Writes one line, member by member.
#[derive(Debug)]
pub struct Writer {
    text: String,
    is_cut: bool,
}

impl Writer {
    /// A line of this time, level and module.
    pub fn new(at_unix_ms: u64, level: Level, target: &str) -> Self {
        let time = calendar::rfc3339_ms(at_unix_ms.min(LAST_UNIX_MS));
        let mut text = String::with_capacity(256);
        text.push_str("{\"timestamp\":\"");
        text.push_str(&time);
        text.push_str("\",\"level\":\"");
        text.push_str(level.as_written());
        text.push('"');
        let mut writer = Self {
            text,
            is_cut: false,
        };
        writer.text("target", target);
        writer
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) {
        let (value, is_cut) = cut(value);
        self.is_cut |= is_cut;
        self.member(name, |text| {
            text.push('"');
            escape(value, text);
            text.push('"');
        });
    }

    /// Adds a number or a truth, as JSON has it.
    pub fn plain(&mut self, name: &str, value: &str) {
        self.member(name, |text| text.push_str(value));
    }

    /// One member that makes the line too long is left out whole: the line stays JSON.
    fn member(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        let before = self.text.len();
        self.text.push_str(",\"");
        escape(name, &mut self.text);
        self.text.push_str("\":");
        value(&mut self.text);
        // Room for what ends the line.
        if self.text.len() > LINE_BYTES_MAX - 16 {
            self.text.truncate(before);
            self.is_cut = true;
        }
    }

    /// The line, without its end.
    pub fn finish(mut self) -> String {
        self.text
            .push_str(if self.is_cut { ",\"cut\":true}" } else { "}" });
        self.text
    }
}

fn cut(value: &str) -> (&str, bool) {
    if value.len() <= VALUE_BYTES_MAX {
        return (value, false);
    }
    let mut end = VALUE_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    (&value[..end], true)
}

/// As a text in JSON has it.
pub(super) fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// When; sorts as times do.
    pub time: &'a [u8],
    /// How grave.
    pub level: Level,
}

/// How a line begins, if it is one of a [`Writer`].
pub fn head(line: &[u8]) -> Option<Head<'_>> {
    let rest = line.strip_prefix(BEFORE_TIME)?;
    let (time, rest) = rest.split_at_checked(TIME_BYTES)?;
    let rest = rest.strip_prefix(BEFORE_LEVEL)?;
    let end = rest.iter().take(8).position(|byte| *byte == b'"')?;
    let level = Level::of_written(&rest[..end])?;
    Some(Head { time, level })
}

/// The time of a [`Head`], in ms since 1970.
pub fn unix_ms(time: &[u8]) -> Option<u64> {
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if time.len() != TIME_BYTES || marks.iter().any(|(at, mark)| time[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let add = |sum: u64, digit: &u8| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u64::from(digit - b'0'))
        };
        time[from..to].iter().try_fold(0, add)
    };
    let days = calendar::days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let seconds = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(days * calendar::DAY_MS + seconds * 1_000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_what_is_asked_for() {
        let mut writer = Writer::new(1_001, Level::Warn, "weir_node::x");
        writer.text("message", "a \"b\"\\\n\u{1}ä");
        writer.plain("count", "3");
        let line = writer.finish();
        assert_eq!(
            line,
            "{\"timestamp\":\"1970-01-01T00:00:01.001Z\",\"level\":\"WARN\",\"target\":\"weir_node::x\",\
             \"message\":\"a \\\"b\\\"\\\\\\n\\u0001ä\",\"count\":3}"
        );
        let head = head(line.as_bytes()).unwrap();
        assert_eq!(
            (head.time, head.level),
            (&b"1970-01-01T00:00:01.001Z"[..], Level::Warn)
        );
        assert_eq!(
            Writer::new(u64::MAX, Level::Info, "t")
                .finish()
                .find("9999-12-31"),
            Some(14)
        );
    }

    #[test]
    fn no_value_and_no_number_of_values_makes_a_line_longer_than_it_may_be() {
        let mut writer = Writer::new(0, Level::Info, "t");
        for _ in 0..100 {
            writer.text("name", &"\u{1}ä".repeat(10_000));
        }
        writer.text("last", "small");
        let line = writer.finish();
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        assert!(line.ends_with(",\"last\":\"small\",\"cut\":true}"));
    }

    #[test]
    fn what_is_no_line_has_no_head() {
        let line = Writer::new(0, Level::Info, "t").finish();
        let line = line.as_bytes();
        let least = BEFORE_TIME.len() + TIME_BYTES + BEFORE_LEVEL.len() + "INFO\"".len();
        for length in 0..least {
            assert_eq!(head(&line[..length]), None, "{length}");
        }
        assert!(head(&line[..least]).is_some());
        assert_eq!(head(b"thread 'main' panicked"), None);
        assert_eq!(head(&[0xff; 200]), None);
    }

    #[test]
    fn a_time_reads_back() {
        for at in [0, 1_001, 1_800_000_000_123, LAST_UNIX_MS] {
            assert_eq!(unix_ms(calendar::rfc3339_ms(at).as_bytes()), Some(at));
        }
        for bad in [
            "",
            "1970-13-01T00:00:00.000Z",
            "1970-01-01T00:00:00.00xZ",
            "1970-01-01 00:00:00.000Z",
        ] {
            assert_eq!(unix_ms(bad.as_bytes()), None, "{bad}");
        }
    }
}
