//! Makes texts of others fit to be kept and shown.

use std::borrow::Cow;

use crate::governance::NAME_CHARS_MAX;
use crate::governance::tokens::TOKEN_PREFIX;

const HIDDEN: &str = "***";
/// A run of letters and digits of this length is taken for a secret.
const RUN_CHARS_MIN: usize = 40;
/// Fewer digits after the prefix are a name and no token.
const OURS_DIGITS_MIN: usize = 8;

/// At most `chars_max` characters in one line, without what looks like a secret or plays with a terminal.
pub fn one_line(text: &str, chars_max: usize) -> String {
    // What follows the bound is cut before the search, with room for a secret that lies across it.
    let text: String = text
        .trim()
        .chars()
        .take(chars_max.saturating_mul(2))
        .map(|char| if is_unprintable(char) { ' ' } else { char })
        .collect();
    let text = redact(&text);
    if text.chars().count() <= chars_max {
        return text.trim().to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A name as it is kept and shown.
pub fn name_of(text: &str) -> String {
    one_line(text, NAME_CHARS_MAX)
}

/// Takes out what looks like a token: Weir's own, what follows `Bearer`, and long runs of letters and digits.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut kept = 0;
    let mut follows_bearer = false;
    for (start, word) in words(text) {
        if follows_bearer || is_token(word) {
            clean.push_str(&text[kept..start]);
            clean.push_str(HIDDEN);
            kept = start + word.len();
        }
        follows_bearer = word.eq_ignore_ascii_case("bearer");
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

/// Words and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_gap = |char: char| char.is_whitespace() || "\"'`,;:=()[]{}<>".contains(char);
    let mut end = 0;
    let words = text.split_inclusive(is_gap).map(move |word| {
        let start = end;
        end += word.len();
        (start, word.trim_end_matches(is_gap))
    });
    words.filter(|(_, word)| !word.is_empty())
}

fn is_token(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let mut ours = lower.match_indices(TOKEN_PREFIX);
    let mut runs = word.split(|char: char| !char.is_ascii_alphanumeric());
    let begins_as_ours = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit);
        digits.count() >= OURS_DIGITS_MIN
    };
    ours.any(|(at, _)| begins_as_ours(&lower[at + TOKEN_PREFIX.len()..]))
        || runs.any(|run| {
            run.len() >= RUN_CHARS_MIN
                && run.bytes().any(|byte| byte.is_ascii_digit())
                && run.bytes().any(|byte| byte.is_ascii_alphabetic())
        })
}

/// Controls, line ends of Unicode, and marks that turn the direction of writing.
fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_token_is_taken_out() {
        let hex = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            (format!("used weir_{hex}."), "used ***"),
            (format!("WEIR_{hex}"), "***"),
            (format!("token=weir_{hex},x"), "token=***,x"),
            ("weir_01234567".to_owned(), "***"),
            (
                "weir_requests_total of x/weir_0123456789".to_owned(),
                "weir_requests_total of ***",
            ),
            (
                "Authorization: bearer hunter2 and more".to_owned(),
                "Authorization: bearer *** and more",
            ),
            (format!("sha {hex}"), "sha ***"),
            (
                "weight 0 to 100 for web-1".to_owned(),
                "weight 0 to 100 for web-1",
            ),
            (
                "balancer.drain_timeout 30s".to_owned(),
                "balancer.drain_timeout 30s",
            ),
            ("a".repeat(50), &*"a".repeat(50)),
            (String::new(), ""),
        ] {
            assert_eq!(redact(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_becomes_one_short_line() {
        assert_eq!(
            one_line(" two\nlines\u{2028}\u{202e}x\0 ", 64),
            "two lines  x"
        );
        assert_eq!(one_line("ééééé", 4), "ééé…");
        assert_eq!(one_line("éééé", 4), "éééé");
    }

    proptest! {
        #[test]
        fn no_token_survives_anywhere(before in ".{0,80}", token in "[0-9a-f]{64}", after in "\\PC{0,20}") {
            let text = format!("{before} weir_{token}{after}");
            let kept = one_line(&text, 60);
            prop_assert!(kept.chars().count() <= 60);
            prop_assert!(!kept.contains(&token[..8]), "{}", kept);
            prop_assert!(!kept.contains(char::is_control));
        }
    }
}
