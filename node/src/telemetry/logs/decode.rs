//! A line as others read it.

use serde_json::{Map, Value};
use weir_core::logs::{head, unix_ms};
use weir_proto::node::v1::LogLine;

/// What a line says. Of one that something else wrote everything is the message.
pub(super) fn decode(node: &str, line: &[u8]) -> LogLine {
    let node = node.to_owned();
    let parsed = head(line).zip(serde_json::from_slice::<Map<String, Value>>(line).ok());
    let Some((head, mut members)) = parsed else {
        return LogLine {
            node,
            message: String::from_utf8_lossy(line).into_owned(),
            ..LogLine::default()
        };
    };
    members.remove("timestamp");
    members.remove("level");
    let mut taken = |name: &str| members.remove(name).map(text).unwrap_or_default();
    let (target, message) = (taken("target"), taken("message"));
    LogLine {
        node,
        at_unix_ms: unix_ms(head.time).unwrap_or(0),
        level: head.level.to_string(),
        target,
        message,
        attributes: members
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect(),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
