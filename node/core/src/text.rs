//! Texts of others that people will read.

/// Whether a text has nothing in it that moves a cursor, starts a line or turns the direction of writing.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(is_odd)
}

/// The text with everything that [`is_printable`] refuses written as an escape.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_odd(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// The same of a text of several lines, which become one: with `; ` between, or as the end of a line leads to the next.
pub fn one_line(text: &str) -> String {
    if !text.contains('\n') {
        return printable(text);
    }
    let mut out = String::with_capacity(text.len());
    let lines = text.lines().map(|line| line.trim_matches([' ', '\t']));
    for line in lines.filter(|line| !line.is_empty()) {
        match out.chars().last() {
            None => {}
            Some(':' | ';' | ',') => out.push(' '),
            Some(_) => out.push_str("; "),
        }
        out.push_str(&printable(line));
    }
    out
}

/// Whether a name is what a pattern names. One `*` in it stands for any characters, also for none.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let rest = name.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(after))
        }
    }
}

/// The candidate that a misspelt word most likely stands for: a third of its letters may be wrong, missing, swapped or
/// too many. `None` when there is none so near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_max = word.chars().count().div_ceil(3).min(3);
    let near = candidates.into_iter().filter_map(|candidate| {
        let wrong = distance(word, candidate);
        (wrong <= wrong_max && wrong < candidate.chars().count()).then_some((wrong, candidate))
    });
    near.min().map(|(_, candidate)| candidate)
}

/// Letters to change, add, leave out or swap with their neighbour to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let width = other.len() + 1;
    let mut table: Vec<Vec<usize>> = vec![(0..width).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, b) in other.iter().enumerate() {
            let changed = table[i][j] + usize::from(a != b);
            let mut least = changed.min(table[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(table[i - 1][j - 1] + 1);
            }
            row[j + 1] = least;
        }
        table.push(row);
    }
    table[one.len()][other.len()]
}

fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_stands_for_the_nearest() {
        let known = ["services", "service", "check", "path", "cache", "ip"];
        for (word, meant) in [
            ("servces", Some("services")),
            ("chek", Some("check")),
            ("cehck", Some("check")),
            ("pathh", Some("path")),
            ("colour", None),
            ("xx", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_but_none_of_the_others() {
        for (pattern, name) in [
            ("node-1", "node-1"),
            ("edge-*", "edge-7"),
            ("edge-*", "edge-"),
            ("*-eu", "a-eu"),
            ("a*a", "aa"),
            ("*", "anything"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("node-1", "node-10"),
            ("edge-*", "edge"),
            ("edge-*", "an-edge-7"),
            ("*-eu", "a-eu-1"),
            ("a*a", "a"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_would_move_a_terminal_is_written_as_an_escape() {
        assert_eq!(printable("plain ä 1%"), "plain ä 1%");
        let odd = "z\n\x1b]0;x\x07\u{202e}";
        assert!(!is_printable(odd));
        assert_eq!(printable(odd), "z\\u{a}\\u{1b}]0;x\\u{7}\\u{202e}");
        assert!(is_printable(&printable(odd)));
    }

    #[test]
    fn lines_are_read_one_after_the_other_in_one_line() {
        assert_eq!(one_line("  as it is "), "  as it is ");
        let told = "3 problems:\n  a: wrong\r\n\n  b: wrong,\n    too\n";
        assert_eq!(one_line(told), "3 problems: a: wrong; b: wrong, too");
        let odd = one_line("a\n\x1b[2Kb\rc\u{2028}");
        assert_eq!(odd, "a; \\u{1b}[2Kb\\u{d}c\\u{2028}");
        assert_eq!(one_line("\n \n"), "");
    }
}
