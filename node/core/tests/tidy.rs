//! The rules of ARCHITECTURE.md that a compiler does not check.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 120;
const CORE_MAY_USE: [&str; 11] = [
    "base64",
    "bytes",
    "crc32fast",
    "fastrand",
    "flate2",
    "http",
    "ipnet",
    "memchr",
    "regex",
    "sha1",
    "thiserror",
];
const MAY_NAME_ACTIX: [&str; 4] = ["actors/", "guardian.rs", "link.rs", "wiring.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every Rust file below `folder` with its path from there.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds sources", folder.display());
    found.sort();
    found
}

fn everything() -> Vec<(String, String)> {
    ["proto", "control-plane", "node", "sim", "fakes"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .collect()
}

#[test]
fn files_are_short_enough_to_read() {
    for (name, text) in everything() {
        assert!(
            text.lines().count() <= LINES_MAX,
            "{name} has more than {LINES_MAX} lines"
        );
        let long = text
            .lines()
            .position(|line| line.chars().count() > COLUMNS_MAX);
        assert_eq!(
            long, None,
            "{name} has a line of more than {COLUMNS_MAX} columns"
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let marks = [["TO", "DO"], ["FIX", "ME"]].map(|halves| halves.concat());
    for (name, text) in everything() {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{name} says {mark}");
        }
    }
}

#[test]
fn core_uses_no_runtime_network_or_clock() {
    let manifest = fs::read_to_string(root().join("node/core/Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
    let (dependencies, _) = dependencies.split_once("[dev-dependencies]").unwrap();
    for line in dependencies.lines().filter(|line| line.contains('=')) {
        let name = line.split(['.', ' ', '=']).next().unwrap();
        assert!(CORE_MAY_USE.contains(&name), "weir-core may not use {name}");
    }
    let is_test = |name: &str| {
        name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("simulation.rs")
    };
    for (name, text) in sources(&root().join("node/core/src")) {
        if is_test(&name) {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap();
        for call in [
            "Instant::now",
            "SystemTime::now",
            "fastrand::Rng::new()",
            "HashMap",
        ] {
            assert!(!text.contains(call), "{name} uses {call}");
        }
    }
}

/// What Debug writes as people do: times.
const MAY_BE_LOGGED_AS_DEBUG: [&str; 6] =
    ["took", "drain_timeout", "wait", "ttl", "limit", "elapsed"];

/// What an event for people tells by Debug, as `?name` or `name = ?value`.
fn told_by_debug(event: &str) -> Vec<&str> {
    let marks = event.match_indices('?').filter(|(at, _)| {
        let before = event[..*at].trim_end();
        before.ends_with(['(', ',']) || before.ends_with('=')
    });
    let names = marks.map(|(at, _)| {
        let before = event[..at].trim_end();
        let named = before.strip_suffix('=').map(str::trim_end);
        let text = named.map_or(&event[at + 1..], |named| {
            named.rsplit([' ', '(', ',']).next().unwrap()
        });
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap()
    });
    names.collect()
}

#[test]
fn log_lines_for_people_hold_no_debug_forms() {
    let parts =
        ["", "cache/", "broadcast/", "engines/", "heap/"].map(|part| format!("node/{part}src"));
    let folders = parts
        .iter()
        .map(String::as_str)
        .chain(["control-plane/src"]);
    for (name, text) in folders.flat_map(|folder| sources(&root().join(folder))) {
        for level in ["info", "warn", "error"] {
            for (at, mark) in text.match_indices(&format!("tracing::{level}!(")) {
                let event = &text[at + mark.len() - 1..];
                let (event, _) = event.split_once(");").unwrap_or((event, ""));
                for field in told_by_debug(event) {
                    assert!(
                        MAY_BE_LOGGED_AS_DEBUG.contains(&field),
                        "{name} logs {field} as Debug writes it: {event}"
                    );
                }
            }
        }
    }
}

#[test]
fn actix_stays_at_the_rim() {
    for (name, text) in sources(&root().join("node/src")) {
        let allowed = MAY_NAME_ACTIX.iter().any(|place| name.starts_with(place));
        assert!(allowed || !text.contains("actix::"), "{name} names actix");
    }
}

#[test]
fn the_request_path_knows_no_actor() {
    for (name, text) in sources(&root().join("node/src/data_plane")) {
        for word in ["crate::actors", "crate::link", "crate::guardian"] {
            assert!(!text.contains(word), "data_plane/{name} names {word}");
        }
    }
}

#[test]
fn every_actor_has_tests_and_says_what_it_is() {
    for entry in fs::read_dir(root().join("node/src/actors")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        assert!(
            folder.join("tests.rs").exists() || folder.join("tests/mod.rs").exists(),
            "{} has tests",
            folder.display()
        );
        let text = fs::read_to_string(folder.join("mod.rs")).unwrap();
        for heading in [
            "//! Owns",
            "//! Receives",
            "//! Sends",
            "//! Bound",
            "//! Restarts",
        ] {
            assert!(
                text.contains(heading),
                "{} says {heading}",
                folder.display()
            );
        }
    }
}
