//! Writes a profile as a file.

use std::collections::BTreeMap;

use weir_core::tuning::{Value, find};
use weir_proto::control::v1::TextSetting;

/// The text of a file that sets this.
pub(in crate::cli::profile) fn to_toml(settings: &[TextSetting]) -> String {
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in settings {
        let (section, name) = setting.path.split_once('.').unwrap_or(("", &setting.path));
        let line = format!("{} = {}", key(name), literal(setting));
        sections.entry(section).or_default().push(line);
    }
    let blocks: Vec<String> = sections
        .into_iter()
        .map(|(section, lines)| match section {
            "" => lines.join("\n"),
            _ => format!("[{}]\n{}", key(section), lines.join("\n")),
        })
        .collect();
    blocks.join("\n\n")
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        return name.to_owned();
    }
    quoted(name)
}

/// A basic string in one line, as keys need it too.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// The value as the knob's kind is written in TOML; a text when the knob is of another version.
fn literal(setting: &TextSetting) -> String {
    let value = find(&setting.path).and_then(|knob| knob.parse(&setting.value).ok());
    match value {
        Some(Value::Count(count)) => count.to_string(),
        Some(Value::Flag(flag)) => flag.to_string(),
        Some(Value::Ratio(ratio)) => ratio.as_f64().to_string(),
        Some(Value::Texts(texts)) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        _ => quoted(&setting.value),
    }
}
