//! `Vary` of what is sent in several codings.

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

/// Says in `Vary` that the response depends on `Accept-Encoding`, unless it says so or varies by everything.
pub fn add_accept_encoding(headers: &mut HeaderMap) {
    let says_so = |name: &[u8]| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes())
    };
    let mut names = headers
        .get_all(VARY)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if names.any(says_so) {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(VARY)
        .into_iter()
        .map(HeaderValue::as_bytes)
        .filter(|line| !line.trim_ascii().is_empty())
        .chain([&b"Accept-Encoding"[..]])
        .collect();
    // One line: there are clients and caches that read only the first.
    match HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        Ok(merged) => headers.insert(VARY, merged),
        Err(_) => headers.insert(VARY, HeaderValue::from_static("*")),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        add_accept_encoding(&mut headers);
        let values = headers.get_all(VARY).into_iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_was_said_stays_said() {
        assert_eq!(merged(&[]), ["Accept-Encoding"]);
        assert_eq!(merged(&[""]), ["Accept-Encoding"]);
        assert_eq!(
            merged(&["Origin", "Accept"]),
            ["Origin, Accept, Accept-Encoding"]
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        assert_eq!(
            merged(&["Origin, ACCEPT-encoding"]),
            ["Origin, ACCEPT-encoding"]
        );
        assert_eq!(merged(&["Origin", "*"]), ["Origin", "*"]);
    }
}
