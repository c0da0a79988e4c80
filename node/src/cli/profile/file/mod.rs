//! Profiles as files: TOML with a table for each section.
//!
//! `get -o toml` writes what `apply -f` reads: durations, sizes and percentages as texts with their unit, counts and
//! shares as numbers, lists as arrays.

mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use weir_core::tuning::{
    Code, Edit, PRESETS, Problem, Profile, SETTINGS_MAX, apply_edits, check_rules, preset,
};
use weir_proto::control::v1::TextSetting;

use crate::cli::control::{Found, read_bounded};
use crate::cli::output::Failure;

pub(super) use write::to_toml;

const FILE_BYTES_MAX: u64 = 1 << 20;
const DEPTH_MAX: usize = 8;

/// What a file sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProfileFile {
    /// What everything else is set on top of.
    pub(super) preset: Option<String>,
    pub(super) settings: Vec<TextSetting>,
    /// Of each path, where it is set.
    lines: BTreeMap<String, usize>,
}

impl ProfileFile {
    /// Reads a file, or standard input for `-`.
    pub(super) fn read(path: &Path) -> Result<Result<Self, Vec<Found>>, Failure> {
        let text = read_bounded("-f", path, FILE_BYTES_MAX)?;
        Ok(Self::parse(&text))
    }

    /// Reads a text; every problem is named, with its line.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Found>> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let lines = Lines::of(text);
            let found = errors.iter().map(|error| syntax(text, &lines, error));
            return Err(in_order(found.collect()));
        }
        let mut reader = Reader {
            lines: Lines::of(text),
            file: Self::default(),
            problems: Vec::new(),
        };
        reader.table("", tree.get_ref(), 1);
        let Reader { file, problems, .. } = reader;
        match problems.is_empty() {
            true => Ok(file),
            false => Err(in_order(problems)),
        }
    }

    /// Says of each problem which line it comes from.
    pub(super) fn located(&self, problems: Vec<Problem>) -> Vec<Found> {
        let found = |problem: Problem| Found {
            line: self.lines.get(&problem.path).copied(),
            problem,
        };
        in_order(problems.into_iter().map(found).collect())
    }

    /// Checks everything that can be checked without the control plane.
    pub(super) fn check(&self) -> Result<Profile, Vec<Found>> {
        let below = match &self.preset {
            None => Profile::new(),
            Some(name) => match preset(name) {
                Some(preset) => preset.profile(),
                None => return Err(self.located(vec![unknown_preset(name)])),
            },
        };
        let edits: Vec<Edit> = self
            .settings
            .iter()
            .map(|setting| Edit::Set(setting.path.clone(), setting.value.clone()))
            .collect();
        let profile = apply_edits(&below, &edits).map_err(|problems| self.located(problems))?;
        let problems = check_rules(|knob| {
            let given = profile.get(knob).cloned();
            given.unwrap_or_else(|| knob.default_value())
        });
        match problems.is_empty() {
            true => Ok(profile),
            false => Err(self.located(problems)),
        }
    }
}

fn unknown_preset(name: &str) -> Problem {
    let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
    Problem::new("preset", Code::Unknown, "is no preset", name).bounded(names.join(", "))
}

fn syntax(text: &str, lines: &Lines, error: &toml::de::Error) -> Found {
    let message = error.message().replace('\n', ", ");
    let span = error.span();
    let shown = span.clone().and_then(|span| text.get(span)).unwrap_or("");
    let shown = shown.lines().next().unwrap_or("").trim();
    let shown: String = shown.chars().take(60).collect();
    let message = format!("is no TOML: {message}");
    Found {
        line: span.map(|span| lines.at(&span)),
        problem: Problem::new("file", Code::Type, message, shown),
    }
}

/// From the first line to the last; what has no line comes first.
fn in_order(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| found.line);
    found
}

/// Where each line but the first begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn at(&self, span: &Range<usize>) -> usize {
        1 + self.0.partition_point(|start| *start <= span.start)
    }
}

struct Reader {
    lines: Lines,
    file: ProfileFile,
    problems: Vec<Found>,
}

impl Reader {
    fn table(&mut self, path: &str, table: &DeTable<'_>, depth: usize) {
        for (key, value) in table {
            self.entry(path, key, value, depth);
        }
    }

    fn entry(
        &mut self,
        above: &str,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        depth: usize,
    ) {
        let path = match above {
            "" => key.get_ref().to_string(),
            _ => format!("{above}.{}", key.get_ref()),
        };
        let line = self.lines.at(&key.span());
        match value.get_ref() {
            DeValue::Table(table) if depth < DEPTH_MAX => self.table(&path, table, depth + 1),
            value => match as_text(value) {
                Err(message) => self.refuse(&path, line, Code::Type, &message, shown(value)),
                Ok(text) if path == "preset" => {
                    self.file.lines.insert(path, line);
                    self.file.preset = Some(text);
                }
                Ok(text) => self.set(path, line, text),
            },
        }
    }

    fn set(&mut self, path: String, line: usize, value: String) {
        if self.file.settings.len() > SETTINGS_MAX {
            return;
        }
        if let Some(first) = self.file.lines.insert(path.clone(), line) {
            let message = format!("is a second value of one knob, set in line {first} too");
            return self.refuse(&path, line, Code::Conflict, &message, value);
        }
        if self.file.settings.len() == SETTINGS_MAX {
            let message = format!("is one setting more than a profile may have ({SETTINGS_MAX})");
            self.refuse(&path, line, Code::Range, &message, value.clone());
        }
        self.file.settings.push(TextSetting { path, value });
    }

    fn refuse(&mut self, path: &str, line: usize, code: Code, message: &str, value: String) {
        let problem = Problem::new(path, code, message, value);
        self.problems.push(Found {
            line: Some(line),
            problem,
        });
    }
}

/// A value as the control plane reads it.
fn as_text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err("is too large".to_owned()),
        },
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> =
                items.iter().map(|item| item.get_ref().as_str()).collect();
            let texts = texts.ok_or("is a list of something else than texts")?;
            match texts.iter().find(|text| text.contains(',')) {
                Some(text) => Err(format!(
                    "has a comma in `{text}`, but commas separate texts"
                )),
                None => Ok(texts.join(", ")),
            }
        }
        DeValue::Datetime(_) => Err("is a date, which no knob takes".to_owned()),
        DeValue::Table(_) => Err(format!("is a table in a table, more than {DEPTH_MAX} deep")),
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Integer(number) => number.to_string(),
        other => other.type_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
