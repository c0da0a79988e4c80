//! Errors for people.

use std::error::Error;

/// An error and all that caused it, in one line. Many errors tell their cause as well: it is told once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last_at = 0;
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        let last = text.get(last_at..).unwrap_or_default();
        if !last.is_empty() && told.starts_with(last) {
            text.replace_range(last_at.., &told);
        } else if !text.ends_with(&told) {
            text.push_str(": ");
            last_at = text.len();
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Because(&'static str, #[source] Option<Box<Because>>);

    #[test]
    fn every_cause_is_told_once() {
        let disk = Because("the disk is full", None);
        let file = Because("a.toml cannot be written", Some(Box::new(disk)));
        assert_eq!(chain(&file), "a.toml cannot be written: the disk is full");
    }

    #[test]
    fn a_cause_that_an_error_tells_itself_is_not_told_again() {
        let refused = || Some(Box::new(Because("refused", None)));
        let told = Because("node-1: refused", refused());
        assert_eq!(chain(&told), "node-1: refused");
        let begun = Because("transport error", Some(Box::new(told)));
        assert_eq!(chain(&begun), "transport error: node-1: refused");
        let connect = Because("connect: refused", refused());
        let twice = Because("connect", Some(Box::new(connect)));
        assert_eq!(chain(&twice), "connect: refused");
    }
}
