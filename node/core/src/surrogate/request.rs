//! A purge that is to be sent to a CDN.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::purge::Hardness;

/// What of, as CDNs name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CdnScope {
    /// A whole URL.
    Url(String),
    /// A tag.
    Tag(String),
    /// Host and beginning of the path, without scheme: `www.example.com/blog`.
    Prefix(String),
    /// A host.
    Host(String),
    /// Everything of the zone or service.
    All,
}

/// A purge for a CDN: in its words, so with names, not with hashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CdnPurge {
    /// What of.
    pub scope: CdnScope,
    /// How.
    pub hardness: Hardness,
}

/// A request that an adapter sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnRequest {
    /// The method.
    pub method: &'static str,
    /// The path below the CDN's API.
    pub path: String,
    /// Headers without authentication and length.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty: none.
    pub body: String,
    /// Which of the offered purges it carries, by position.
    pub carries: Vec<usize>,
}

/// A purge that a CDN has no request for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{cdn} purges by {bound}, not by {what} ({value:?})")]
pub struct NotForThisCdn {
    /// Position among what was offered.
    pub at: usize,
    /// Which CDN.
    pub cdn: &'static str,
    /// What cannot be done.
    pub what: &'static str,
    /// The purge's own name.
    pub value: String,
    /// What can.
    pub bound: &'static str,
}

/// A JSON object of one list of strings, as all of these purges are.
pub(super) fn json_list(name: &str, values: &[&str]) -> String {
    let mut json = String::from("{");
    push_json(&mut json, name);
    json.push_str(":[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        push_json(&mut json, value);
    }
    json.push_str("]}");
    json
}

/// A string as RFC 8259 section 7 has it.
fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json.push('"');
}

/// What several purges have in common, each value once, with the positions of all that ask for it.
pub(super) struct Batch<'a> {
    pub(super) values: Vec<&'a str>,
    pub(super) carries: Vec<usize>,
}

/// Splits what is asked for into batches of at most `most` values.
pub(super) fn batches<'a>(
    wanted: impl Iterator<Item = (usize, &'a str)>,
    most: usize,
) -> Vec<Batch<'a>> {
    let mut askers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, value) in wanted {
        askers.entry(value).or_default().push(at);
    }
    let askers: Vec<_> = askers.into_iter().collect();
    let batch = |values: &[(&'a str, Vec<usize>)]| Batch {
        values: values.iter().map(|(value, _)| *value).collect(),
        carries: values
            .iter()
            .flat_map(|(_, at)| at.iter().copied())
            .collect(),
    };
    askers.chunks(most.max(1)).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        let json = json_list("a", &["b\"c", "\\\n\u{7f}", "ä"]);
        assert_eq!(json, r#"{"a":["b\"c","\\\u000a\u007f","ä"]}"#);
        assert_eq!(json_list("a", &[]), r#"{"a":[]}"#);
    }

    #[test]
    fn values_go_once_and_carry_all_that_asked() {
        let wanted = ["x", "y", "x", "z"].into_iter().enumerate();
        let batches = batches(wanted, 2);
        let told: Vec<_> = batches
            .iter()
            .map(|batch| (&batch.values[..], &batch.carries[..]))
            .collect();
        assert_eq!(
            told,
            [(&["x", "y"][..], &[0, 2, 1][..]), (&["z"][..], &[3][..])]
        );
    }
}
