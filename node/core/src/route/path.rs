//! One spelling for each path.

use std::borrow::Cow;

use thiserror::Error;

/// The path has no one meaning; answer `400`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPath {
    /// Neither empty, `*` nor starting with a slash.
    #[error("the path does not start with a slash")]
    Relative,
    /// A control character, NUL included, plain or percent-encoded; also a space, `?` or `#`.
    #[error("the path has an illegal character")]
    Character,
    /// A `%` that two hexadecimal digits do not follow (RFC 3986 section 2.1).
    #[error("the path has a broken percent-encoding")]
    Escape,
    /// A plain backslash, which is no URI character and which some servers take for a slash.
    #[error("the path has a backslash")]
    Backslash,
}

/// The path as routes see it and as it is forwarded, so that no other spelling dodges a route
/// (RFC 3986 section 6.2.2). `path` is without query.
///
/// - percent-encoded unreserved characters are decoded (`%61` is `a`, `%2e` is `.`), once;
/// - other encodings stay, in upper case; `%2F` and `%5C` are data, not separators;
/// - dot segments are removed; what climbs above the root stays at the root (section 5.2.4);
/// - repeated slashes become one.
///
/// Borrowed when there is nothing to do. Applying it twice is applying it once.
///
/// # Errors
/// [`BadPath`] if the path is relative or servers would disagree on what it means.
pub fn normalise_path(path: &str) -> Result<Cow<'_, str>, BadPath> {
    match path.as_bytes() {
        [] => return Ok(Cow::Borrowed("/")),
        b"*" => return Ok(Cow::Borrowed(path)),
        [b'/', ..] => {}
        _ => return Err(BadPath::Relative),
    }
    let mut previous = 0;
    let mut is_normal = true;
    for byte in path.bytes() {
        if byte <= b' ' || matches!(byte, 0x7f | b'\\' | b'?' | b'#') {
            return Err(illegal(byte));
        }
        is_normal &= byte != b'%' && !(previous == b'/' && matches!(byte, b'/' | b'.'));
        previous = byte;
    }
    if is_normal {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    let rebuilt = remove_dot_segments(&decoded);
    Ok(if rebuilt == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(rebuilt)
    })
}

fn illegal(byte: u8) -> BadPath {
    if byte == b'\\' {
        BadPath::Backslash
    } else {
        BadPath::Character
    }
}

fn decode_unreserved(path: &str) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, escaped)) = rest.split_once('%') {
        decoded.push_str(plain);
        let (digits, after) = escaped.split_at_checked(2).ok_or(BadPath::Escape)?;
        let byte = decode(digits).ok_or(BadPath::Escape)?;
        if byte.is_ascii_control() {
            return Err(BadPath::Character);
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push('%');
            decoded.extend(digits.chars().map(|digit| digit.to_ascii_uppercase()));
        }
        rest = after;
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// `from_str_radix` alone would accept a sign.
fn decode(digits: &str) -> Option<u8> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

fn remove_dot_segments(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            _ => {
                normal.push('/');
                normal.push_str(segment);
            }
        }
    }
    // The last segment decides whether a directory is meant.
    if normal.is_empty() || matches!(path.rsplit('/').next(), Some("" | "." | "..")) {
        normal.push('/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_path_dodges_its_route() {
        for (path, expected) in [
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/public/.%2e/admin", "/admin"),
            ("/./admin", "/admin"),
            ("//admin", "/admin"),
            ("/public//..//admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/../../admin", "/admin"),
            ("/..", "/"),
            ("", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a//", "/a/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%252e", "/a%252e"),
            ("/a%5cb", "/a%5Cb"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("*", "*"),
        ] {
            assert_eq!(normalise_path(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (path, expected) in [
            ("/a%00", BadPath::Character),
            ("/a\0", BadPath::Character),
            ("/a%0d%0a", BadPath::Character),
            ("/a b", BadPath::Character),
            ("/a?b", BadPath::Character),
            ("/a\\..\\b", BadPath::Backslash),
            ("/a%", BadPath::Escape),
            ("/a%2", BadPath::Escape),
            ("/a%zz", BadPath::Escape),
            ("/a%+1", BadPath::Escape),
            ("/a%2é", BadPath::Escape),
            ("a", BadPath::Relative),
            ("*a", BadPath::Relative),
        ] {
            assert_eq!(normalise_path(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for path in ["/", "/a/b.c/", "/.hidden", "/a%2Fb"] {
            assert!(matches!(normalise_path(path), Ok(Cow::Borrowed(_))));
        }
    }
}
