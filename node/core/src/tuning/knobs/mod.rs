//! Every knob there is, section by section.
//!
//! A knob is declared here before or after the part that reads it exists: a node refuses one that no part of it
//! reads, by name.

pub mod balancer;
pub mod broadcaster;
pub mod cache;
pub mod host;
pub mod ingress;
pub mod port_cache;
pub mod provision;
pub mod telemetry;
pub mod upstream;

use super::knob::Knob;

/// What each section uses to declare its knobs.
mod declare {
    use std::time::Duration;

    pub(super) use super::super::knob::{ApplyClass, Kind, Literal};

    pub(super) const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    pub(super) const fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Declares knobs as statics and lists them: name = path, kind with bounds, default, apply class; meaning.
    macro_rules! knobs {
        ($($name:ident = $path:literal, $kind:expr, $default:expr, $apply:expr, $meaning:literal;)+) => {
            $(
                #[doc = $meaning]
                pub static $name: $crate::tuning::Knob = $crate::tuning::Knob {
                    path: $path,
                    kind: $kind,
                    default: $default,
                    apply: $apply,
                    meaning: $meaning,
                };
            )+
            /// The section's knobs.
            pub static ALL: &[&$crate::tuning::Knob] = &[$(&$name),+];
        };
    }
    pub(super) use knobs;
}

static SECTIONS: [&[&Knob]; 9] = [
    ingress::ALL,
    upstream::ALL,
    balancer::ALL,
    cache::ALL,
    broadcaster::ALL,
    provision::ALL,
    port_cache::ALL,
    telemetry::ALL,
    host::ALL,
];

/// Every knob, section by section.
pub fn all() -> impl Iterator<Item = &'static Knob> {
    SECTIONS.iter().flat_map(|section| section.iter().copied())
}

/// The knob of that path.
pub fn find(path: &str) -> Option<&'static Knob> {
    all().find(|knob| knob.path == path)
}

/// Paths that somebody who wrote `path` may have meant, for people; else the sections.
pub(super) fn similar(path: &str) -> String {
    const SHOWN_MAX: usize = 5;
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    let words: Vec<&str> = name.split('_').filter(|word| word.len() > 2).collect();
    let mut scored: Vec<(usize, &str)> = all()
        .map(|knob| {
            let shared = words
                .iter()
                .filter(|word| knob.name().contains(**word))
                .count();
            let same_section = usize::from(knob.section() == section);
            (2 * shared + same_section, knob.path)
        })
        .filter(|(score, _)| *score >= 2)
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    if scored.is_empty() {
        let sections = SECTIONS.iter().filter_map(|knobs| knobs.first());
        let names: Vec<&str> = sections.map(|knob| knob.section()).collect();
        return format!("knobs of {}", names.join(", "));
    }
    let paths: Vec<&str> = scored
        .iter()
        .take(SHOWN_MAX)
        .map(|(_, path)| *path)
        .collect();
    format!("for example {}", paths.join(", "))
}
