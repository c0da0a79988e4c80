//! Names of topics, and patterns of them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::Refused;

/// Bytes of the longest name and pattern.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Segments of the longest pattern.
pub const PATTERN_SEGMENTS_MAX: usize = 16;
/// What topics of the node's own begin with. No client publishes to them, and no pattern takes them.
pub const OWN_TOPICS: &str = "_weir.";

/// A topic: segments of letters, digits, `_`, `:`, `-` and `/` with points between them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// A name that a client gave.
    ///
    /// # Errors
    ///
    /// When it is no name, or one of the node's own.
    pub fn new(text: &str) -> Result<Self, Refused> {
        if text.starts_with(OWN_TOPICS) {
            return Err(Refused::Reserved {
                field: "topic",
                value: text.chars().take(TOPIC_BYTES_MAX).collect(),
            });
        }
        Self::any(text)
    }

    /// A name that this node or another one gave.
    ///
    /// # Errors
    ///
    /// When it is no name.
    pub fn any(text: &str) -> Result<Self, Refused> {
        check("topic", text, false)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Topics by the form of their names: `*` is any one segment, `>` at the end is any one or more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// A pattern that a client gave.
    ///
    /// # Errors
    ///
    /// When it is no pattern, also when it is a plain name.
    pub fn new(text: &str) -> Result<Self, Refused> {
        check("pattern", text, true)?;
        let segments: Vec<_> = text.split('.').collect();
        if segments.len() > PATTERN_SEGMENTS_MAX {
            return Err(Refused::TooMany {
                field: "segments of a pattern",
                value: segments.len(),
                max: PATTERN_SEGMENTS_MAX,
            });
        }
        let last = segments.len() - 1;
        let sound = segments
            .iter()
            .enumerate()
            .all(|(at, segment)| match *segment {
                "*" => true,
                ">" => at == last,
                plain => !plain.contains(['*', '>']),
            });
        if !sound || !text.contains(['*', '>']) {
            return Err(Refused::Wildcards {
                value: text.to_owned(),
            });
        }
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic is one of these.
    pub fn takes(&self, topic: &TopicName) -> bool {
        let topic = topic.as_str();
        if topic.starts_with(OWN_TOPICS) && !self.0.starts_with(OWN_TOPICS) {
            return false;
        }
        let mut names = topic.split('.');
        for segment in self.0.split('.') {
            match (segment, names.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (segment, Some(name)) if segment == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether every topic that the other takes is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        if other.0.starts_with(OWN_TOPICS) && !self.0.starts_with(OWN_TOPICS) {
            return false;
        }
        let mut others = other.0.split('.');
        for segment in self.0.split('.') {
            match (segment, others.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                (_, Some(">")) => return false,
                ("*", Some(_)) => {}
                (segment, Some(other)) if segment == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(field: &'static str, text: &str, wildcards: bool) -> Result<(), Refused> {
    if text.len() > TOPIC_BYTES_MAX {
        return Err(Refused::TooLong {
            field,
            bytes: text.len(),
            max: TOPIC_BYTES_MAX,
        });
    }
    let fits = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '.' | ':' | '-' | '/')
            || (wildcards && matches!(c, '*' | '>'))
    };
    if let Some(found) = text.chars().find(|c| !fits(*c)) {
        return Err(Refused::Character { field, found });
    }
    if text.split('.').any(str::is_empty) {
        return Err(Refused::EmptySegment {
            field,
            value: text.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_takes_no_topic_beside_its_own() {
        let covers = |one, other| {
            let pattern = |text| Pattern::new(text).unwrap();
            pattern(one).covers(&pattern(other))
        };
        for (one, other) in [
            ("a.>", "a.>"),
            ("a.>", "a.*"),
            ("a.>", "a.b.>"),
            (">", "a.*.c"),
            ("a.*", "a.*"),
            ("*.*", "a.*"),
            ("_weir.>", "_weir.*"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("a.*", "a.>"),
            ("a.>", "b.>"),
            ("a.*", "a.*.c"),
            ("a.*.c", "a.*"),
            ("a.b.>", "a.>"),
            ("*", "_weir.*"),
            (">", "_weir.>"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_name_that_is_refused_is_told_why() {
        for good in ["a", "engines.tv-3", "a/b:c.D_9", &"x".repeat(255)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "topic \"\" has an empty segment"),
            ("a..b", "topic \"a..b\" has an empty segment"),
            (".a", "topic \".a\" has an empty segment"),
            (
                "a.*",
                "topic holds '*'; allowed are letters, digits and _ . : - /",
            ),
            (
                "a b",
                "topic holds ' '; allowed are letters, digits and _ . : - /",
            ),
            (
                "_weir.canary",
                "topic \"_weir.canary\" is one of the node's own",
            ),
            (&"x".repeat(256), "topic has 256 bytes, more than 255"),
        ] {
            assert_eq!(TopicName::new(bad).unwrap_err().to_string(), why);
        }
        assert!(TopicName::any("_weir.canary").is_ok());
    }

    #[test]
    fn a_pattern_is_whole_segments() {
        for good in ["*", ">", "a.*", "a.>", "*.b.*", "_weir.>"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a.b*",
            ">.a",
            "a.>.b",
            "a..*",
            "*b",
            &["*"; 17].join("."),
        ] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nodes_own_topics_are_taken_by_name_only() {
        let own = TopicName::any("_weir.canary").unwrap();
        for (pattern, takes) in [(">", false), ("*.canary", false), ("_weir.*", true)] {
            assert_eq!(
                Pattern::new(pattern).unwrap().takes(&own),
                takes,
                "{pattern}"
            );
        }
    }
}
