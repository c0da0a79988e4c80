//! What a profile sets, with what this version cannot read.

use std::collections::BTreeMap;

use weir_core::tuning::{ApplyClass, Edit, Problem, Profile, apply_edits, find};
use weir_proto::convert;
use weir_proto::tuning::v1 as pb;

/// The settings of one profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// What this version knows and allows.
    pub known: Profile,
    /// What it does not, as it was written: another version wrote it. No path is in both.
    pub(super) foreign: BTreeMap<String, pb::Value>,
}

/// One setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The knob.
    pub path: String,
    /// As people write it; empty where there was none.
    pub before: String,
    /// As people write it; empty where there is none.
    pub after: String,
    /// When it takes effect; `None` for a knob that this version does not know.
    pub apply: Option<ApplyClass>,
}

impl Settings {
    /// These and nothing foreign.
    pub fn known(known: Profile) -> Self {
        Self {
            known,
            foreign: BTreeMap::new(),
        }
    }

    /// Reads what was written, whatever version wrote it.
    pub fn decode(wire: &pb::Profile) -> Self {
        let decoded = convert::decode_profile(wire);
        let unread = decoded.unknown.iter().chain(&decoded.problems);
        let unread: Vec<&str> = unread.map(|problem| problem.path.as_str()).collect();
        let foreign = wire.settings.iter().filter_map(|setting| {
            let is_foreign = unread.contains(&setting.path.as_str());
            let value = setting.value.clone().unwrap_or_default();
            is_foreign.then(|| (setting.path.clone(), value))
        });
        let mut settings = Self {
            foreign: foreign.collect(),
            known: decoded.profile,
        };
        for path in settings.foreign.keys() {
            if let Some(knob) = find(path) {
                settings.known.unset(knob);
            }
        }
        settings
    }

    /// Writes them in the order of paths: equal settings have equal bytes.
    pub fn encode(&self) -> pb::Profile {
        let known = self.known.iter();
        let mut values: BTreeMap<&str, pb::Value> = known
            .map(|(path, value)| (path, convert::value(value)))
            .collect();
        let foreign = self.foreign.iter();
        values.extend(foreign.map(|(path, value)| (path.as_str(), value.clone())));
        pb::Profile {
            settings: values.into_iter().map(setting).collect(),
        }
    }

    /// Paths and values as people write them.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let known = self.known.iter();
        let known = known.map(|(path, value)| (path.to_owned(), value.to_string()));
        let foreign = self.foreign.iter();
        let foreign = foreign.map(|(path, value)| (path.clone(), foreign_text(path, value)));
        known.chain(foreign).collect()
    }

    /// How many knobs are set.
    pub fn len(&self) -> usize {
        self.known.len() + self.foreign.len()
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These with every edit made. An edit of what is foreign ends it.
    ///
    /// # Errors
    /// Every problem of every edit.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, Vec<Problem>> {
        let is_foreign_unset = |edit: &Edit| match edit {
            Edit::Unset(path) => find(path).is_none() && self.foreign.contains_key(path),
            Edit::Set(..) => false,
        };
        let ours: Vec<Edit> = edits
            .iter()
            .filter(|edit| !is_foreign_unset(edit))
            .cloned()
            .collect();
        let known = apply_edits(&self.known, &ours)?;
        let mut foreign = self.foreign.clone();
        for edit in edits {
            let (Edit::Set(path, _) | Edit::Unset(path)) = edit;
            foreign.remove(path);
        }
        Ok(Self { known, foreign })
    }
}

/// What makes `after` of `before`, in the order of paths; both as [`Settings::texts`] tells them.
pub(super) fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let text = |texts: &BTreeMap<String, String>, path| texts.get(path).cloned();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| Difference {
            path: path.clone(),
            before: text(before, path).unwrap_or_default(),
            after: text(after, path).unwrap_or_default(),
            apply: find(path).map(|knob| knob.apply),
        })
        .collect()
}

/// A foreign value for people, as far as it can be told.
pub(super) fn foreign_text(path: &str, value: &pb::Value) -> String {
    let alone = pb::Profile {
        settings: vec![setting((path, value.clone()))],
    };
    let decoded = convert::decode_profile(&alone);
    let problem = decoded.unknown.into_iter().chain(decoded.problems).next();
    match problem.map(|problem| problem.value) {
        Some(text) if !text.is_empty() => text,
        _ => "(a value of another version)".to_owned(),
    }
}

pub(super) fn setting((path, value): (&str, pb::Value)) -> pb::Setting {
    pb::Setting {
        path: path.to_owned(),
        value: Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, count: u64) -> pb::Setting {
        let kind = Some(pb::value::Kind::Count(count));
        setting((path, pb::Value { kind }))
    }

    fn written() -> pb::Profile {
        pb::Profile {
            settings: vec![
                count("ingress.headers_max", 1_000_000),
                count("ingress.warp", 9),
                count("upstream.idle_max", 7),
            ],
        }
    }

    #[test]
    fn what_another_version_wrote_is_written_back() {
        let settings = Settings::decode(&written());
        assert_eq!((settings.known.len(), settings.len()), (1, 3));
        assert_eq!(settings.encode(), written());
        let texts = settings.texts();
        assert_eq!(texts["ingress.warp"], "9");
        assert_eq!(texts["ingress.headers_max"], "1000000");
    }

    #[test]
    fn an_edit_leaves_what_is_foreign_unless_it_names_it() {
        let settings = Settings::decode(&written());
        let set = |path: &str| Edit::Set(path.to_owned(), "5".to_owned());
        let edited = settings.edited(&[set("upstream.idle_max")]).unwrap();
        assert_eq!(edited.foreign, settings.foreign);
        let edits = [
            set("ingress.headers_max"),
            Edit::Unset("ingress.warp".to_owned()),
        ];
        let edited = settings.edited(&edits).unwrap();
        assert!(edited.foreign.is_empty());
        assert_eq!(edited.texts()["ingress.headers_max"], "5");
        assert!(
            settings
                .edited(&[Edit::Unset("ingress.warped".to_owned())])
                .is_err()
        );
    }

    #[test]
    fn differences_name_both_values() {
        let before = Settings::decode(&written()).texts();
        let after = [("ingress.warp", "9"), ("upstream.idle_max", "8")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()));
        let found = differences(&before, &after.into_iter().collect());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, "ingress.headers_max");
        assert_eq!(found[0].after, "");
        assert_eq!((&*found[1].before, &*found[1].after), ("7", "8"));
    }
}
