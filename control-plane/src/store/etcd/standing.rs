//! Whether etcd answers, told in the log once each time that it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::Error;

/// Shared by all who ask.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    is_away: Arc<AtomicBool>,
    /// The members' addresses, as they are told.
    at: Arc<str>,
}

impl Standing {
    /// Of members that are taken to answer.
    pub(super) fn new(endpoints: &[String]) -> Self {
        Self {
            is_away: Arc::default(),
            at: endpoints.join(",").into(),
        }
    }

    /// What became of a request.
    pub(super) fn saw<T>(&self, outcome: &Result<T, Error>) {
        match outcome {
            Err(error) if error.is_ambiguous() => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(store = %self.at, %error, "the store does not answer");
                }
            }
            // A refusal is an answer, too.
            _ => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!(store = %self.at, "the store answers again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_nobody_means_that_etcd_is_away() {
        let standing = Standing::new(&["http://127.0.0.1:1".to_owned()]);
        let is_away = |outcome: Result<(), Error>| {
            standing.saw(&outcome);
            standing.is_away.load(Ordering::Relaxed)
        };
        let away = || Error::Unavailable {
            reason: "connection refused".to_owned(),
        };
        assert!(!is_away(Ok(())));
        assert!(is_away(Err(away())));
        assert!(is_away(Err(away())));
        assert!(!is_away(Err(Error::LeaseNotFound)));
        assert!(is_away(Err(away())));
        assert!(!is_away(Ok(())));
    }
}
