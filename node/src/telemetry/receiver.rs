//! Whether an OTLP receiver takes what it is sent.

use std::error::Error as _;

use parking_lot::Mutex;
use tonic::{Code, Status};
use weir_core::error::chain;

/// How a receiver is with one signal, `traces` or `metrics`: there are receivers that take traces alone.
#[derive(Debug, Default)]
pub struct Receiver(Mutex<Standing>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Or was not sent anything.
    #[default]
    Takes,
    /// It does not know the signal, and that is no fault.
    NotFor,
    Fails(String),
}

impl Receiver {
    /// Takes what became of an export, and logs what changed.
    pub(super) fn exported<T>(&self, signal: &str, became: &Result<T, Status>) {
        let standing = match became {
            Ok(_) => Standing::Takes,
            Err(status) if status.code() == Code::Unimplemented => Standing::NotFor,
            Err(status) => Standing::Fails(why(status)),
        };
        let before = std::mem::replace(&mut *self.0.lock(), standing.clone());
        match (before, standing) {
            (Standing::Fails(_), Standing::Fails(_)) => {}
            (before, standing) if before == standing => {}
            (_, Standing::Takes) => tracing::info!(signal, "the OTLP receiver takes them again"),
            (_, Standing::NotFor) => {
                tracing::info!(signal, "the OTLP receiver has no place for them")
            }
            (_, Standing::Fails(why)) => {
                tracing::warn!(
                    signal,
                    why,
                    "the OTLP receiver does not take them: they are dropped"
                );
            }
        }
    }

    /// Why it does not take what it is sent; `None` if it does.
    pub fn problem(&self, signal: &str) -> Option<String> {
        match &*self.0.lock() {
            Standing::Fails(why) => Some(format!("the OTLP receiver takes no {signal}: {why}")),
            Standing::Takes | Standing::NotFor => None,
        }
    }
}

/// What is behind a failure of the transport, else what the receiver said.
fn why(status: &Status) -> String {
    match (status.source(), status.message()) {
        (Some(source), _) => chain(source),
        (None, "") => status.code().description().to_owned(),
        (None, said) => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_a_problem_until_it_is_taken_and_what_is_not_known_is_none() {
        let receiver = Receiver::default();
        assert_eq!(receiver.problem("metrics"), None);
        receiver.exported::<()>("metrics", &Err(Status::unavailable("away")));
        let told = "the OTLP receiver takes no metrics: away";
        assert_eq!(receiver.problem("metrics").as_deref(), Some(told));
        receiver.exported("metrics", &Ok(()));
        assert_eq!(receiver.problem("metrics"), None);
        receiver.exported::<()>("metrics", &Err(Status::unimplemented("")));
        assert_eq!(receiver.problem("metrics"), None);
    }
}
