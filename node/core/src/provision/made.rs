//! What an engine is made of, in one short text that goes with it: one that carries another text is out of date.
//!
//! Only what takes effect with a new engine is part of it. What is not said is not part of it either, so a version of
//! Weir that knows more keys gives the same text to whoever does not use them.

use std::collections::BTreeMap;

/// Before each text: how it was made. A text with another beginning is from a version that made it otherwise.
const VERSION: &str = "1-";
/// FNV-1a of 128 bits (RFC 9923).
const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// What engines of a service are made of, before anything is filled in that each one gets of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeOf<'a> {
    /// What runs them: `process` or `docker`.
    pub driver: &'a str,
    /// The image's name.
    pub image: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// The environment.
    pub env: Option<&'a BTreeMap<String, String>>,
    /// Labels; `None` where nobody reads them.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The network in one word; empty for the usual one.
    pub network: &'a str,
    /// The address that shows its port; empty where none does.
    pub published_on: &'a str,
    /// The port inside, when it is not the one outside.
    pub port: Option<u16>,
    /// What it has further ports for.
    pub extra_ports: &'a [String],
    /// Memory that it may use, bytes.
    pub memory_bytes_max: Option<u64>,
    /// Thousandths of a core that it may use.
    pub cpu_millis_max: Option<u32>,
}

impl MadeOf<'_> {
    /// The text: equal for what is equal, on every machine and in every version.
    pub fn digest(&self) -> String {
        let mut digest = Digest(OFFSET);
        digest.word("driver", self.driver);
        digest.word("image", self.image);
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        digest.list("command", &command);
        digest.map("env", self.env);
        digest.map("labels", self.labels);
        digest.word("network", self.network);
        digest.word("published_on", self.published_on);
        digest.number("port", self.port.map(u64::from));
        let extra_ports: Vec<&str> = self.extra_ports.iter().map(String::as_str).collect();
        digest.list("extra_ports", &extra_ports);
        digest.number("memory", self.memory_bytes_max);
        digest.number("cpus", self.cpu_millis_max.map(u64::from));
        format!("{VERSION}{:032x}", digest.0)
    }
}

/// What is known of an engine whatever it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The name of its image; `None` when it has none or nobody knows.
    pub image: Option<&'a str>,
    /// Program and arguments; `None` when nobody knows.
    pub command: Option<&'a [String]>,
}

/// Whether an engine that carries this text is another one than would be started now. Without a text that compares,
/// what can be seen of it decides, and what cannot be seen is no reason to replace it.
pub fn is_outdated(
    carried: Option<&str>,
    wanted: &str,
    (runs, would_run): (Seen<'_>, Seen<'_>),
) -> bool {
    if let Some(carried) = carried.filter(|text| text.starts_with(VERSION)) {
        return carried != wanted;
    }
    let image = runs.image.zip(would_run.image);
    let command = runs.command.zip(would_run.command);
    image.is_some_and(|(one, other)| one != other)
        || command.is_some_and(|(one, other)| one != other)
}

struct Digest(u128);

impl Digest {
    /// A text after its length, so that no two lists of texts are the same bytes.
    fn text(&mut self, text: &str) {
        let length = (text.len() as u64).to_be_bytes();
        for byte in length.iter().chain(text.as_bytes()) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn list(&mut self, field: &str, texts: &[&str]) {
        if !texts.is_empty() {
            self.text(field);
            self.text(&texts.len().to_string());
            texts.iter().for_each(|text| self.text(text));
        }
    }

    /// A field that is left out when it is empty.
    fn word(&mut self, field: &str, text: &str) {
        if !text.is_empty() {
            self.list(field, &[text]);
        }
    }

    fn map(&mut self, field: &str, map: Option<&BTreeMap<String, String>>) {
        let pairs = map.into_iter().flatten();
        let texts: Vec<&str> = pairs.flat_map(|(key, value)| [&**key, &**value]).collect();
        self.list(field, &texts);
    }

    fn number(&mut self, field: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.list(field, &[&number.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn the_text_is_the_same_in_every_version() {
        let (command, env) = (["tv".to_owned(), "--x".to_owned()], map(&[("A", "1")]));
        let made = MadeOf {
            driver: "docker",
            image: "tv:1",
            command: &command,
            env: Some(&env),
            memory_bytes_max: Some(1 << 30),
            ..MadeOf::default()
        };
        // Engines that run carry it: another one here replaces every engine of every user.
        assert_eq!(made.digest(), "1-6740da1f5844bd8d8d659518545607cd");
        assert_eq!(MadeOf::default().digest(), format!("1-{OFFSET:032x}"));
    }

    #[test]
    fn what_is_said_in_another_place_is_something_else() {
        let of = |pairs: &[(&str, &str)]| {
            let env = map(pairs);
            let env = Some(&env);
            MadeOf {
                env,
                ..MadeOf::default()
            }
            .digest()
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        assert_ne!(of(&[("a", "1b"), ("c", "")]), of(&[("a", "1"), ("b", "c")]));
        let labels = map(&[("a", "1")]);
        let labelled = MadeOf {
            labels: Some(&labels),
            ..MadeOf::default()
        };
        assert_ne!(labelled.digest(), of(&[("a", "1")]));
        let empty = BTreeMap::new();
        let said_nothing = MadeOf {
            labels: Some(&empty),
            ..MadeOf::default()
        };
        assert_eq!(said_nothing.digest(), MadeOf::default().digest());
    }

    #[test]
    fn one_that_carries_nothing_is_out_of_date_only_if_that_is_seen() {
        let (one, other) = (["tv".to_owned()], ["tv".to_owned(), "-v".to_owned()]);
        let seen = |image, command| Seen { image, command };
        let runs = seen(Some("tv:1"), Some(&one[..]));
        for (would_run, is_other) in [
            (runs, false),
            (seen(Some("tv:2"), None), true),
            (seen(Some("tv:1"), Some(&other[..])), true),
            (seen(None, None), false),
        ] {
            for carried in [None, Some("2-00")] {
                assert_eq!(is_outdated(carried, "1-aa", (runs, would_run)), is_other);
            }
        }
        assert!(!is_outdated(
            Some("1-aa"),
            "1-aa",
            (runs, seen(Some("tv:2"), None))
        ));
        assert!(is_outdated(Some("1-bb"), "1-aa", (runs, runs)));
    }
}
