//! Reads a TOML tree key by key and keeps every problem it meets, each with its path.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::{Table, Value};
use weir_core::text::nearest;
use weir_core::units::UnitError;

use super::tuned::Reading;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path such as `services.web.backends[0].weight`.
    pub path: String,
    /// What is wrong, with the value and the bound.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// How a quantity is read and written.
pub(super) type Unit<T> = (fn(&str) -> Result<T, UnitError>, fn(T) -> String);

/// One table of the tree. Keys that nobody asked for are problems at [`Section::finish`].
#[derive(Clone)]
pub(super) struct Section {
    path: String,
    pub(super) table: Table,
    pub(super) reading: Reading,
    /// The keys that were asked for, whether they are there or not.
    asked: RefCell<Vec<String>>,
}

impl Section {
    pub(super) fn root(table: Table, reading: Reading) -> Self {
        Self {
            path: String::new(),
            table,
            reading,
            asked: RefCell::default(),
        }
    }

    fn inner(&self, path: String, table: Table) -> Self {
        Self {
            path,
            table,
            reading: self.reading.clone(),
            asked: RefCell::default(),
        }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn problem(&self, problems: &mut Vec<Problem>, key: &str, what: impl Into<String>) {
        problems.push(Problem {
            path: self.path_of(key),
            what: what.into(),
        });
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.asked.borrow_mut().push(key.to_owned());
        self.table.contains_key(key)
    }

    /// What is under `key`, which is a known one from now on.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.borrow_mut().push(key.to_owned());
        self.table.remove(key)
    }

    /// The table under `key`; empty when absent.
    pub(super) fn section(&mut self, problems: &mut Vec<Problem>, key: &str) -> Section {
        let path = self.path_of(key);
        let table = match self.take(key) {
            Some(Value::Table(table)) => table,
            None => Table::new(),
            Some(other) => {
                problems.push(wrong_type(&path, "a table", &other));
                Table::new()
            }
        };
        self.inner(path, table)
    }

    /// The table under `key`, which `true` stands for when it is empty; `None` when absent or `false`.
    pub(super) fn switched_section(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
    ) -> Option<Section> {
        self.asked.borrow_mut().push(key.to_owned());
        match self.table.get(key)? {
            Value::Table(_) => Some(self.section(problems, key)),
            _ => {
                let is_on = self.truth(problems, key)?;
                is_on.then(|| self.section(problems, key))
            }
        }
    }

    /// The named tables under `key`, in the order of their names.
    pub(super) fn sections(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
    ) -> Vec<(String, Section)> {
        let parent = self.section(problems, key);
        let mut named = Vec::new();
        for (name, value) in parent.table {
            let path = format!("{}.{name}", parent.path);
            match value {
                Value::Table(table) => named.push((name, self.inner(path, table))),
                other => problems.push(wrong_type(&path, "a table", &other)),
            }
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    /// The list of tables under `key`, in file order; a text in the list stands for `{shorthand = text}`.
    pub(super) fn list(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        shorthand: &str,
    ) -> Vec<Section> {
        let path = self.path_of(key);
        let items = match self.take(key) {
            Some(Value::Array(items)) => items,
            None => Vec::new(),
            Some(other) => {
                problems.push(wrong_type(&path, "a list", &other));
                Vec::new()
            }
        };
        let mut sections = Vec::new();
        for (at, value) in items.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            match value {
                Value::Table(table) => sections.push(self.inner(path, table)),
                text @ Value::String(_) => {
                    let table = Table::from_iter([(shorthand.to_owned(), text)]);
                    sections.push(self.inner(path, table));
                }
                other => problems.push(wrong_type(&path, "a table", &other)),
            }
        }
        sections
    }

    /// Every remaining key with its text: for tables whose keys the user chooses.
    pub(super) fn into_texts(self, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (key, value) in self.table {
            match value {
                Value::String(text) => texts.push((key, text)),
                other => {
                    problems.push(wrong_type(
                        &format!("{}.{key}", self.path),
                        "a text",
                        &other,
                    ));
                }
            }
        }
        texts
    }

    pub(super) fn text(&mut self, problems: &mut Vec<Problem>, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                problems.push(wrong_type(&self.path_of(key), "a text", &other));
                None
            }
        }
    }

    /// A path of a file or folder; nothing is said of whether it is there.
    pub(super) fn path(&mut self, problems: &mut Vec<Problem>, key: &str) -> Option<PathBuf> {
        let path = self.text(problems, key)?;
        if path.is_empty() {
            self.problem(problems, key, "is empty; leave it out for none");
            return None;
        }
        Some(path.into())
    }

    pub(super) fn texts(&mut self, problems: &mut Vec<Problem>, key: &str) -> Vec<String> {
        let path = self.path_of(key);
        match self.take(key) {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .filter_map(|(at, item)| match item {
                    Value::String(text) => Some(text),
                    Value::Integer(number) => Some(number.to_string()),
                    other => {
                        problems.push(wrong_type(&format!("{path}[{at}]"), "a text", &other));
                        None
                    }
                })
                .collect(),
            Some(other) => {
                problems.push(wrong_type(&path, "a text or a list of texts", &other));
                Vec::new()
            }
        }
    }

    /// A text that `T` can parse.
    pub(super) fn parsed<T>(&mut self, problems: &mut Vec<Problem>, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(problems, key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(problems, key, unparsed(&text, &error));
                None
            }
        }
    }

    pub(super) fn parsed_list<T>(&mut self, problems: &mut Vec<Problem>, key: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let mut values = Vec::new();
        for text in self.texts(problems, key) {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.problem(problems, key, unparsed(&text, &error)),
            }
        }
        values
    }

    pub(super) fn address(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        default: &str,
    ) -> SocketAddr {
        let said: Option<Address> = self.parsed(problems, key);
        said.map_or_else(
            || default.parse().expect("defaults are valid addresses"),
            |address| address.0,
        )
    }

    /// Addresses as [`Section::address`] reads them; a text stands for a list of one.
    pub(super) fn addresses(&mut self, problems: &mut Vec<Problem>, key: &str) -> Vec<SocketAddr> {
        let said: Vec<Address> = self.parsed_list(problems, key);
        said.into_iter().map(|address| address.0).collect()
    }

    pub(super) fn flag(&mut self, problems: &mut Vec<Problem>, key: &str, default: bool) -> bool {
        self.truth(problems, key).unwrap_or(default)
    }

    pub(super) fn truth(&mut self, problems: &mut Vec<Problem>, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            Value::String(text) if text == "true" || text == "false" => Some(text == "true"),
            other => {
                problems.push(wrong_type(&self.path_of(key), "true or false", &other));
                None
            }
        }
    }

    pub(super) fn number(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> u64 {
        self.whole_number(problems, key, bounds).unwrap_or(default)
    }

    /// A whole number, when it is there, sound and within bounds.
    pub(super) fn whole_number(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = match self.take(key)? {
            Value::Integer(number) => i128::from(number),
            Value::String(text) if text.parse::<i64>().is_ok() => {
                i128::from(text.parse::<i64>().expect("just parsed"))
            }
            other => {
                problems.push(wrong_type(&self.path_of(key), "a whole number", &other));
                return None;
            }
        };
        match u64::try_from(value) {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                self.problem(
                    problems,
                    key,
                    format!(
                        "{value} is out of bounds ({} to {})",
                        bounds.start(),
                        bounds.end()
                    ),
                );
                None
            }
        }
    }

    /// A number from 0 to 1, when it is there and sound.
    pub(super) fn share(&mut self, problems: &mut Vec<Problem>, key: &str) -> Option<f64> {
        let value = match self.take(key)? {
            Value::Float(number) => number,
            #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are in bounds")]
            Value::Integer(number) => number as f64,
            Value::String(text) => text.parse().unwrap_or(f64::NAN),
            other => {
                problems.push(wrong_type(&self.path_of(key), "a number", &other));
                return None;
            }
        };
        if (0.0..=1.0).contains(&value) {
            Some(value)
        } else {
            self.problem(problems, key, format!("{value} is out of bounds (0 to 1)"));
            None
        }
    }

    /// A number with a unit, such as `"250ms"` or `"64KiB"`, when it is there, sound and within bounds.
    pub(super) fn quantity<T: PartialOrd + Copy>(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        bounds: RangeInclusive<T>,
        (parse, format): Unit<T>,
    ) -> Option<T> {
        let text = self.text(problems, key)?;
        let what = match parse(&text) {
            Ok(value) if bounds.contains(&value) => return Some(value),
            Ok(_) => {
                let (low, high) = (format(*bounds.start()), format(*bounds.end()));
                format!("`{text}` is out of bounds ({low} to {high})")
            }
            Err(error) => format!("`{text}`: {error}"),
        };
        self.problem(problems, key, what);
        None
    }

    /// The key that is there in place of this one, misspelt.
    pub(super) fn slip_of(&self, key: &str) -> Option<&str> {
        let slip = |found: &&String| nearest(found, [key]).is_some();
        self.table.keys().find(slip).map(String::as_str)
    }

    /// Names every key that was not asked for, with the one that was meant if it is a slip.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            let what = match nearest(key, asked.iter().map(String::as_str)) {
                Some(meant) => format!("unknown key; did you mean `{meant}`?"),
                None => "unknown key".to_owned(),
            };
            self.problem(problems, key, what);
        }
    }
}

/// An IP address with a port, whose refusal tells its form.
struct Address(SocketAddr);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse().map(Self);
        address.map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    }
}

/// Why a text was refused, with the text, which many a reason tells itself.
fn unparsed(text: &str, error: &impl fmt::Display) -> String {
    let (quoted, why) = (format!("`{text}`"), error.to_string());
    match why.starts_with(&quoted) {
        true => why,
        false => format!("{quoted}: {why}"),
    }
}

fn wrong_type(path: &str, wanted: &str, found: &Value) -> Problem {
    Problem {
        path: path.to_owned(),
        what: format!(
            "expected {wanted}, found {} ({})",
            found.type_str(),
            shortened(found)
        ),
    }
}

fn shortened(value: &Value) -> String {
    const CHARS_MAX: usize = 40;
    let text = value.to_string();
    if text.chars().count() <= CHARS_MAX {
        return text;
    }
    text.chars().take(CHARS_MAX).chain("...".chars()).collect()
}
