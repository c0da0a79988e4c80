//! A "no" that a program can act on: what stands in the way, how long about, and whether asking again helps.

use std::fmt;
use std::time::Duration;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $text:literal, retry $retry:literal, wait $wait:literal;)*) => {
        /// What stands in the way. The texts are for programs and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalCode {
            $($(#[$doc])* $code,)*
        }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The code in snake case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }

            /// Whether the same request may succeed later, here or at another node.
            pub fn can_retry(self) -> bool {
                match self {
                    $(Self::$code => $retry,)*
                }
            }

            /// Whether it passes by itself, so that holding on to a client is better than sending it away.
            pub fn should_wait(self) -> bool {
                match self {
                    $(Self::$code => $wait,)*
                }
            }
        }
    };
}

codes! {
    /// No VPN that the engine may be behind is up and stable.
    VpnDisconnected = "vpn_disconnected", retry true, wait true;
    /// Starts failed too often lately.
    CircuitBreaker = "circuit_breaker", retry true, wait true;
    /// The service, or every VPN that it may use, has as many engines as it may have.
    MaxCapacity = "max_capacity", retry true, wait false;
    /// As many jobs are open as may be, or as many starts wait as may wait.
    QueueFull = "queue_full", retry true, wait true;
    /// The store of jobs cannot be reached.
    StoreAway = "store_away", retry true, wait true;
    /// What runs engines, a container daemon for example, cannot be reached.
    DriverUnavailable = "driver_unavailable", retry true, wait true;
    /// It may be that the VPN lost the forwarded port that is known.
    PortUnconfirmed = "port_unconfirmed", retry true, wait true;
    /// Every port of a range is in use.
    NoPortFree = "no_port_free", retry true, wait false;
    /// No such service, or none whose engines Weir runs.
    UnknownService = "unknown_service", retry false, wait false;
    /// A wish has a key that none may have.
    InvalidKey = "invalid_key", retry false, wait false;
    /// The node stops; another one may do it.
    Stopping = "stopping", retry true, wait false;
}

impl RefusalCode {
    /// The code of a text; `None` when it is none, that of a newer version for example.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Of which field.
    pub field: &'static str,
    /// The value, or its beginning.
    pub value: String,
    /// What is allowed.
    pub bound: String,
}

/// Why no engine is started now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what, which one, and the bound that was reached.
    pub message: String,
    /// How long it takes at least until asking again can help; `None` when nobody knows.
    pub recovery_eta: Option<Duration>,
    /// The value that is out of bounds, if it is one.
    pub wrong: Option<Box<Wrong>>,
}

impl Refusal {
    /// A refusal whose end nobody knows.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            recovery_eta: None,
            wrong: None,
        }
    }

    /// A value that is out of bounds, told as `field: value, bound`.
    pub fn of_wrong(code: RefusalCode, wrong: Wrong) -> Self {
        let Wrong {
            field,
            value,
            bound,
        } = &wrong;
        let message = format!("{field}: `{value}` is out of bounds (allowed: {bound})");
        Self {
            wrong: Some(Box::new(wrong)),
            ..Self::new(code, message)
        }
    }

    /// As many jobs are open as may be: `field` bounds them to `open_max`. So many have to end that one more fits, and
    /// their starts are at least `interval_min` apart; nothing ever ends while none may be open.
    pub fn queue_full(
        field: &'static str,
        open: u64,
        open_max: u64,
        interval_min: Duration,
    ) -> Self {
        let message = format!("{field}: {open} jobs are open, and {open_max} may be");
        let to_end = open.saturating_sub(open_max).saturating_add(1);
        let eta = interval_min.saturating_mul(u32::try_from(to_end).unwrap_or(u32::MAX));
        Self {
            recovery_eta: (open_max > 0).then_some(eta),
            wrong: Some(Box::new(Wrong {
                field,
                value: open.to_string(),
                bound: format!("less than {open_max}"),
            })),
            ..Self::new(RefusalCode::QueueFull, message)
        }
    }

    /// The same, with the time that it takes at least.
    #[must_use]
    pub fn with_eta(self, recovery_eta: Duration) -> Self {
        Self {
            recovery_eta: Some(recovery_eta),
            ..self
        }
    }

    /// See [`RefusalCode::can_retry`].
    pub fn can_retry(&self) -> bool {
        self.code.can_retry()
    }

    /// See [`RefusalCode::should_wait`].
    pub fn should_wait(&self) -> bool {
        self.code.should_wait()
    }

    /// Seconds for `Retry-After` (RFC 9110, section 10.2.3): rounded up and at least 1; none if retrying is no use or
    /// nobody knows when.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let eta = self.recovery_eta.filter(|_| self.can_retry())?;
        let rounded_up = eta
            .as_secs()
            .saturating_add(u64::from(eta.subsec_nanos() > 0));
        Some(rounded_up.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_codes_are_unique_snake_case_and_read_back() {
        for code in RefusalCode::ALL {
            let text = code.as_str();
            assert_eq!(RefusalCode::parse(text), Some(*code));
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
        assert_eq!(RefusalCode::parse("vpn"), None);
    }

    #[test]
    fn nobody_is_told_to_wait_for_what_cannot_be_retried() {
        for code in RefusalCode::ALL {
            assert!(code.can_retry() || !code.should_wait(), "{code}");
        }
    }

    #[test]
    fn a_full_queue_names_field_value_and_bound_and_when_a_place_is_free_at_the_earliest() {
        let half = Duration::from_millis(500);
        let full = Refusal::queue_full("provision.queue_max", 7, 7, half);
        assert_eq!(
            full.message,
            "provision.queue_max: 7 jobs are open, and 7 may be"
        );
        assert_eq!(full.recovery_eta, Some(half));
        let wrong = full.wrong.unwrap();
        let told = (wrong.field, &*wrong.value, &*wrong.bound);
        assert_eq!(told, ("provision.queue_max", "7", "less than 7"));
        // The bound was lowered meanwhile: more than one has to end.
        let over = Refusal::queue_full("provision.queue_max", 9, 7, half);
        assert_eq!(over.recovery_eta, Some(half * 3));
        let never = Refusal::queue_full("provision.queue_max", 0, 0, half);
        assert_eq!(never.retry_after_seconds(), None);
        let most = Refusal::queue_full("provision.queue_max", u64::MAX, 1, Duration::MAX);
        assert_eq!(most.recovery_eta, Some(Duration::MAX));
    }

    #[test]
    fn retry_after_is_rounded_up_and_told_only_if_it_helps() {
        let full = Refusal::new(RefusalCode::QueueFull, "1024 starts wait");
        assert_eq!(full.to_string(), "queue_full: 1024 starts wait");
        assert_eq!(full.retry_after_seconds(), None);
        for (ms, seconds) in [(0, 1), (400, 1), (1_000, 1), (1_001, 2)] {
            let full = full.clone().with_eta(Duration::from_millis(ms));
            assert_eq!(full.retry_after_seconds(), Some(seconds));
        }
        let forever = full.with_eta(Duration::MAX);
        assert_eq!(forever.retry_after_seconds(), Some(u64::MAX));
        let unknown = Refusal::new(RefusalCode::UnknownService, "no service `tv`");
        let unknown = unknown.with_eta(Duration::from_secs(1));
        assert_eq!(unknown.retry_after_seconds(), None);
    }
}
