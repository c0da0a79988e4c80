//! Where a reader of events is, and what it wants.

use std::fmt;

use super::kind::Kind;

/// Kinds and groups of kinds that a reader may name.
const NAMES_MAX: usize = 64;
/// As much of something wrong is told.
const SHOWN_CHARS: usize = 80;

/// Where a reader is: everything up to there is known to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of the process; sequences of another one do not compare.
    pub epoch: String,
    /// Of the last event.
    pub seq: u64,
}

/// No cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "since: `{0}` is no place among events (allowed: what `next` said, such as 018f3a2b4c5d6e7f-42)"
)]
pub struct BadCursor(String);

/// No kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKind {
    /// There is none of that name.
    #[error(
        "kind: `{0}` is no kind of event \
         (allowed: one such as engine.up, a group such as engine.*, or several with commas)"
    )]
    Unknown(String),
    /// More than may be.
    #[error("kind: {0} names (allowed: 0 to {NAMES_MAX})")]
    TooMany(usize),
}

impl Cursor {
    /// Reads what [`Cursor`] is written as; `None` for an empty text.
    ///
    /// # Errors
    /// [`BadCursor`], with the text.
    pub fn parse(text: &str) -> Result<Option<Self>, BadCursor> {
        if text.is_empty() {
            return Ok(None);
        }
        let bad = || BadCursor(shown(text));
        let (epoch, seq) = text.split_once('-').ok_or_else(bad)?;
        let is_hex = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_hexdigit());
        let is_number = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        if !is_hex || !is_number || epoch.len() > 32 {
            return Err(bad());
        }
        Ok(Some(Self {
            epoch: epoch.to_owned(),
            seq: seq.parse().map_err(|_| bad())?,
        }))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// The kinds that a reader wants; without any, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(Vec<Kind>);

impl Wanted {
    /// Reads names of kinds, and of groups such as `engine.*`; each text may hold several with commas between.
    ///
    /// # Errors
    /// [`BadKind`], with the name.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadKind> {
        let names = texts.into_iter().flat_map(|text| text.split(','));
        let names: Vec<&str> = names
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        if names.len() > NAMES_MAX {
            return Err(BadKind::TooMany(names.len()));
        }
        let mut wanted = Vec::new();
        for name in names {
            let before = wanted.len();
            match name.strip_suffix('*') {
                Some(group) if group.ends_with('.') => {
                    let of_group = |kind: &&Kind| kind.as_str().starts_with(group);
                    wanted.extend(Kind::ALL.iter().filter(of_group));
                }
                _ => wanted.extend(Kind::parse(name)),
            }
            if wanted.len() == before {
                return Err(BadKind::Unknown(shown(name)));
            }
        }
        Ok(Self(wanted))
    }

    /// Whether this kind is wanted.
    pub fn has(&self, kind: Kind) -> bool {
        self.0.is_empty() || self.0.contains(&kind)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor::parse("018f00ab-42").unwrap().unwrap();
        assert_eq!((&*cursor.epoch, cursor.seq), ("018f00ab", 42));
        assert_eq!(cursor.to_string(), "018f00ab-42");
        assert_eq!(Cursor::parse(""), Ok(None));
        for text in [
            "1",
            "-",
            "a-",
            "-1",
            "a--1",
            "xyz-1",
            "a-+1",
            "a-99999999999999999999",
        ] {
            let bad = Cursor::parse(text).unwrap_err().to_string();
            assert!(bad.starts_with(&format!("since: `{text}` is no")), "{bad}");
        }
    }

    #[test]
    fn kinds_are_wanted_by_name_and_by_group() {
        let wanted = Wanted::parse(["vpn.*, engine.up", "job.dead"]).unwrap();
        for kind in Kind::ALL {
            let name = kind.as_str();
            let is_named = name.starts_with("vpn.") || matches!(name, "engine.up" | "job.dead");
            assert_eq!(wanted.has(*kind), is_named, "{name}");
            assert!(Wanted::default().has(*kind));
        }
        for name in ["engine", "engine*", "none.*", "*", "Engine.up"] {
            let bad = Wanted::parse([name]).unwrap_err().to_string();
            assert!(
                bad.starts_with(&format!("kind: `{name}` is no kind")),
                "{bad}"
            );
        }
        let many = "engine.up,".repeat(65);
        assert_eq!(Wanted::parse([&*many]), Err(BadKind::TooMany(65)));
    }
}
