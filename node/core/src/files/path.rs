//! From the path of a request to one below a root.

use thiserror::Error;

/// Bytes of one name in a path; file systems take no more (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;
/// The one name with a dot in front that is always served (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// The path names no file that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPath {
    /// It does not start with a slash, has a broken percent-encoding, or a name in it is `.` or `..` or holds a slash,
    /// a backslash or a control character: servers disagree on what it means. Answer 400.
    #[error("the path has no one meaning")]
    Ambiguous,
    /// A name starts with a dot, and such files are not served. Answer 404.
    #[error("the path names a hidden file")]
    Hidden,
    /// A name is longer than [`NAME_BYTES_MAX`]: there is no such file. Answer 404.
    #[error("a name in the path is too long")]
    TooLong,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Below the root, without a slash at either end; empty for the root itself. Its names are none of `.` and `..`,
    /// and hold neither a slash nor NUL.
    pub path: Vec<u8>,
    /// The request's path ends with a slash: a directory is meant.
    pub is_directory: bool,
}

/// What the path of a request (without query) asks for. It is decoded once, and after it was split at slashes: no
/// encoding makes a separator or climbs. Repeated slashes count as one.
///
/// # Errors
/// [`BadPath`] if that is no file which may be served.
pub fn relative(path: &str, dot_files: bool) -> Result<Wanted, BadPath> {
    let below = path.strip_prefix('/').ok_or(BadPath::Ambiguous)?;
    let mut joined = Vec::with_capacity(below.len());
    for segment in below.split('/').filter(|segment| !segment.is_empty()) {
        let is_first = joined.is_empty();
        if !is_first {
            joined.push(b'/');
        }
        let begin = joined.len();
        decode(segment, &mut joined)?;
        check(&joined[begin..], is_first, dot_files)?;
    }
    Ok(Wanted {
        path: joined,
        is_directory: below.is_empty() || below.ends_with('/'),
    })
}

/// Whether the text is a path below a root as [`relative`] makes them, hidden names included.
pub fn is_plain_name(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|name| {
            let name = name.as_bytes();
            check(name, false, true).is_ok() && !name.is_empty()
        })
}

fn decode(segment: &str, out: &mut Vec<u8>) -> Result<(), BadPath> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || hexadecimal(bytes.next()?);
                let (high, low) = (digit(), digit());
                high.zip(low)
                    .map(|(high, low)| high << 4 | low)
                    .ok_or(BadPath::Ambiguous)?
            }
            plain => plain,
        };
        out.push(byte);
    }
    Ok(())
}

fn hexadecimal(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

fn check(name: &[u8], is_first: bool, dot_files: bool) -> Result<(), BadPath> {
    let is_odd = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'/' | b'\\');
    if matches!(name, b"." | b"..") || name.iter().any(is_odd) {
        return Err(BadPath::Ambiguous);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(BadPath::TooLong);
    }
    let is_shown = dot_files || !name.starts_with(b".") || (is_first && name == WELL_KNOWN);
    is_shown.then_some(()).ok_or(BadPath::Hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> Result<(String, bool), BadPath> {
        let wanted = relative(path, false)?;
        Ok((String::from_utf8(wanted.path).unwrap(), wanted.is_directory))
    }

    #[test]
    fn a_path_is_one_below_the_root() {
        for (path, below, is_directory) in [
            ("/", "", true),
            ("//", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a//b.c", "a/b.c", false),
            ("/a%20b/%C3%A9", "a b/é", false),
            ("/a%2520", "a%20", false),
            ("/a%252e%252e/b", "a%2e%2e/b", false),
            ("/.well-known/acme", ".well-known/acme", false),
            ("/a..b/c.", "a..b/c.", false),
        ] {
            assert_eq!(plain(path), Ok((below.to_owned(), is_directory)), "{path}");
        }
    }

    #[test]
    fn what_climbs_or_is_read_in_two_ways_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/%2e%2e%2fetc",
            "/a\\b",
            "/..%5cb",
            "/a%00",
            "/a%00.png",
            "/a\0",
            "/a%0ab",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/a%é",
        ] {
            for dot_files in [false, true] {
                assert_eq!(relative(path, dot_files), Err(BadPath::Ambiguous), "{path}");
            }
        }
    }

    #[test]
    fn hidden_files_are_served_only_if_asked_for() {
        for path in [
            "/.env",
            "/%2eenv",
            "/a/.git/config",
            "/.well-known2",
            "/a/.well-known/x",
            "/...",
        ] {
            assert_eq!(plain(path), Err(BadPath::Hidden), "{path}");
            assert!(relative(path, true).is_ok(), "{path}");
        }
    }

    #[test]
    fn names_are_as_long_as_file_systems_take() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        assert!(plain(&format!("/{longest}")).is_ok());
        assert_eq!(plain(&format!("/{longest}n")), Err(BadPath::TooLong));
    }

    #[test]
    fn names_of_the_configuration_stay_below_the_root() {
        for name in ["index.html", "a/b.html", ".hidden", "a b"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", "/a", "a/", "a//b", "../a", "a/..", ".", "a\\b", "a\0"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
