//! As much of JSON as an engine writes.

/// Text with its quotes.
pub(super) fn text(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
            char => char.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// `null` for none.
pub(super) fn number(number: Option<u16>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
