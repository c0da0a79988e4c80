//! Fields of requests, each by itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use weir_core::tuning::{Code, NAME_BOUND, Problem, Scope, is_name};
use weir_proto::control::v1::GroupSelector;

use crate::problem::refused;

/// Longest message of a change.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Longest key and longest value of a label.
pub const LABEL_BYTES_MAX: usize = 255;
/// Most labels of one selector.
pub const LABELS_MAX: usize = 16;
/// How long an override may hold.
pub const OVERRIDE_TTL: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// What the life of an override may be.
pub(super) const TTL_BOUND: &str = "1s to 24h";

/// Checks why a change is made, as its author says it.
pub fn check_message(message: &str) -> Option<Problem> {
    let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let fits = message.len() <= MESSAGE_BYTES_MAX && message.chars().all(is_text);
    (!fits).then(|| {
        let bound = format!("a text of at most {MESSAGE_BYTES_MAX} bytes");
        refused("message", Code::Range, "does not fit", message, bound)
    })
}

/// Checks what names a write.
pub fn check_write_id(write_id: &str) -> Option<Problem> {
    (!is_name(write_id)).then(|| {
        let bound = format!("{NAME_BOUND}, another for each write");
        refused("write_id", Code::Type, "names no write", write_id, bound)
    })
}

/// Checks which nodes are to be in a group.
pub(super) fn check_group(
    scope: &Scope,
    group: Option<&GroupSelector>,
    problems: &mut Vec<Problem>,
) {
    let Some(group) = group else { return };
    if !matches!(scope, Scope::Group(_)) {
        let bound = "a selector only with group/NAME";
        let problem = refused("group", Code::Conflict, "has no selector", scope, bound);
        problems.push(problem);
    }
    if group.labels.len() > LABELS_MAX {
        let (found, bound) = (group.labels.len(), format!("at most {LABELS_MAX}"));
        let problem = refused("group.labels", Code::Range, "are too many", found, bound);
        problems.push(problem);
    }
    for (key, value) in group.labels.iter().take(LABELS_MAX) {
        let fits =
            |text: &str| text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control);
        if key.is_empty() || !fits(key) || !fits(value) {
            let bound = format!("a key and a value of at most {LABEL_BYTES_MAX} bytes each");
            let label = format!("{key}={value}");
            let problem = refused("group.labels", Code::Range, "is no label", label, bound);
            problems.push(problem);
        }
    }
}

/// Checks how long an override is to hold.
pub(super) fn check_ttl(scope: &Scope, ttl_ms: u64, problems: &mut Vec<Problem>) {
    if ttl_ms == 0 {
        return;
    }
    let value = format!("{ttl_ms}ms");
    if !scope.is_override() {
        let bound = "only with override or override/ID";
        let message = "is asked for a scope that does not end";
        problems.push(refused("ttl_ms", Code::Conflict, message, value, bound));
    } else if !OVERRIDE_TTL.contains(&Duration::from_millis(ttl_ms)) {
        let message = "is out of bounds";
        problems.push(refused("ttl_ms", Code::Range, message, value, TTL_BOUND));
    }
}
