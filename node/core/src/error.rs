//! Errors for people.

use std::error::Error;

/// An error and all that caused it, in one line. A cause that only says again what is said already is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
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
        let again = Because(
            "no way: it is away",
            Some(Box::new(Because("it is away", None))),
        );
        assert_eq!(chain(&again), "no way: it is away");
    }
}
