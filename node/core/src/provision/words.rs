//! Words in braces that stand for what each engine gets.
//!
//! `{port}` stands for a port; `{{port}}` for the text `{port}`. A word begins with a small letter and goes on with
//! small letters, digits, `_` and `.`: braces of JSON, of regular expressions and of `find` are none. A word after `$`
//! is a variable of a shell, unless it is a known one.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Word { word: &'a str, is_shell: bool },
}

/// The text with each word in braces replaced by what it stands for; one that stands for nothing stays.
pub fn fill(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Word { word, .. } => match value(word) {
                Some(value) => out.push_str(&value),
                None => out.extend(["{", word, "}"]),
            },
        }
    }
    out
}

/// The first word in braces that is not a known one.
pub fn unknown(text: &str, is_known: impl Fn(&str) -> bool) -> Option<&str> {
    pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Word { word, is_shell } if !is_shell && !is_known(word) => Some(word),
        _ => None,
    })
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    // What is not in a piece yet begins at the one, and is looked through from the other.
    let (mut from, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        let inner = &text[open + 1..];
        if let Some(word) = inner.strip_prefix('{').and_then(word)
            && inner[1 + word.len()..].starts_with("}}")
        {
            let end = open + word.len() + 4;
            pieces.extend([
                Piece::Text(&text[from..open]),
                Piece::Text(&text[open + 1..end - 1]),
            ]);
            (from, at) = (end, end);
        } else if let Some(word) = word(inner) {
            let end = open + word.len() + 2;
            let is_shell = text[..open].ends_with('$');
            pieces.extend([
                Piece::Text(&text[from..open]),
                Piece::Word { word, is_shell },
            ]);
            (from, at) = (end, end);
        } else {
            at = open + 1;
        }
    }
    pieces.push(Piece::Text(&text[from..]));
    pieces
}

/// The word that the text begins with, if a brace ends it.
fn word(text: &str) -> Option<&str> {
    let (word, _) = text.split_once('}')?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    let is_word = word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(fits);
    is_word.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        fill(text, |word| match word {
            "port" => Some("80".to_owned()),
            "port.api" => Some("{port}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_known_word_is_replaced_once_and_doubled_braces_stand_for_themselves() {
        for (text, expected) in [
            ("--port={port}", "--port=80"),
            ("{port}:{port.api}", "80:{port}"),
            ("{{port}}", "{port}"),
            ("{{prt}} {prt}", "{prt} {prt}"),
            ("{\"a\":{\"p\":{port}}}", "{\"a\":{\"p\":80}}"),
            ("${port}", "$80"),
            ("{port", "{port"),
            ("port}{", "port}{"),
            ("", ""),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_word_alone_in_braces_is_an_unknown_one() {
        let unknown = |text| unknown(text, |word| word == "port");
        assert_eq!(unknown("{port} {prt}"), Some("prt"));
        assert_eq!(unknown("{port.x}"), Some("port.x"));
        for text in [
            "{port}",
            "{{prt}}",
            "{\"a\":1}",
            "{a,b}",
            "[0-9]{3}",
            "find {} +",
            "{{.Name}} {Name}",
            "${home}",
            "{ prt }",
            "{prt",
        ] {
            assert_eq!(unknown(text), None, "{text}");
        }
    }
}
