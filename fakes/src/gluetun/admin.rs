//! The admin port.

use std::fmt::Write as _;
use std::time::Duration;

use super::{InvalidSetting, State};
use crate::http::{Answer, Reply, Request};

pub(super) fn reply(state: &mut State, request: &Request) -> Reply {
    let route = (request.method.as_str(), request.path());
    let done = |_| Answer::json(200, "{}");
    match route {
        ("PUT", "/admin/set") => super::set(state, &request.query()).map(done),
        ("PUT", "/admin/restart") => restart(state, &request.query()).map(done),
        ("PUT", "/admin/calls") => {
            state.calls.clear();
            Ok(done(()))
        }
        ("GET", "/admin/calls") => {
            let calls = state.calls.iter();
            Ok(Answer::json(200, object(calls)))
        }
        ("GET", "/admin/settings") => {
            let all = state.settings.all();
            let quoted = all.iter().map(|(name, value)| (*name, quoted(value)));
            Ok(Answer::json(200, object(quoted)))
        }
        ("PUT", "/admin/exit") => {
            let code = request
                .query()
                .iter()
                .find_map(|(name, value)| (name == "code").then(|| value.parse().ok()).flatten());
            std::process::exit(code.unwrap_or_default());
        }
        _ => Ok(Answer::text(
            404,
            "see the documentation of weir_fakes::gluetun",
        )),
    }
    .unwrap_or_else(|error| Answer::text(400, error.to_string()))
    .into()
}

/// `down_ms`, and what else is set by then.
fn restart(state: &mut State, pairs: &[(String, String)]) -> Result<(), InvalidSetting> {
    let (own, others): (Vec<_>, Vec<_>) = pairs
        .iter()
        .cloned()
        .partition(|(name, _)| name == "down_ms");
    let down = match own.first() {
        Some((_, value)) => Duration::from_millis(u64::from(
            value
                .parse::<u32>()
                .map_err(|_| InvalidSetting::new("down_ms", value, "milliseconds"))?,
        )),
        None => Duration::ZERO,
    };
    super::restart(state, &others, down)
}

fn object(pairs: impl Iterator<Item = (impl AsRef<str>, impl std::fmt::Display)>) -> String {
    let mut json = String::from("{");
    for (nth, (name, value)) in pairs.enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        let _ = write!(json, "{comma}{}:{value}", quoted(name.as_ref()));
    }
    json.push('}');
    json
}

/// A JSON string (RFC 8259, section 7).
pub(super) fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}
