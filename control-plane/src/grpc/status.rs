//! The only place where errors of the domains become gRPC statuses.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use weir_core::error::chain;
use weir_core::tuning::Problem;
use weir_proto::control::v1::PutProblems;
use weir_proto::convert::field_error;

use crate::governance::tokens;
use crate::jobs;
use crate::orders;
use crate::profiles::{PutError, ReadError};
use crate::registry::backends;
use crate::store;
use crate::weights::{self, SetError};

/// Most of a status message. It travels in a header with up to three bytes for one, and many clients take 16 KiB of
/// headers and not more.
pub const MESSAGE_BYTES_MAX: usize = 2_560;
/// Most of a status's details, which travel in a header too, four bytes for three.
pub const DETAILS_BYTES_MAX: usize = 4_096;

/// A request that is wrong: each problem on a line, as many as there is room for, and in the details.
pub(crate) fn refusal(problems: &[Problem]) -> Status {
    let mut message = String::new();
    let mut told = 0;
    for problem in problems {
        let line = problem.to_string().replace(char::is_control, " ");
        let room = MESSAGE_BYTES_MAX - message.len();
        if line.len() + 1 > room && told > 0 {
            break;
        }
        if told > 0 {
            message.push('\n');
        }
        message.push_str(within(&line, room));
        told += 1;
    }
    if told < problems.len() {
        message.push_str(&format!("\nand {} more", problems.len() - told));
    }
    let details = details(problems).encode_to_vec();
    Status::with_details(Code::InvalidArgument, message, Bytes::from(details))
}

/// As much of a text as fits.
fn within(text: &str, bytes_max: usize) -> &str {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= bytes_max).last();
    &text[..end.unwrap_or(0)]
}

fn details(problems: &[Problem]) -> PutProblems {
    let mut details = PutProblems::default();
    for problem in problems {
        details.problems.push(field_error(problem));
        if details.encoded_len() > DETAILS_BYTES_MAX {
            details.problems.pop();
            break;
        }
    }
    details
}

pub(super) fn put(error: &PutError) -> Status {
    match error {
        PutError::Problems(problems) => refusal(problems),
        PutError::Lost(lost) => Status::aborted(lost.to_string()),
        PutError::Read(error) => read(error),
        PutError::Behind => Status::unavailable(error.to_string()),
        PutError::Uncertain(_) => Status::unavailable(chain(error)),
    }
}

pub(super) fn read(error: &ReadError) -> Status {
    match error {
        ReadError::Store(error) => store(error),
        ReadError::Unreadable { .. } => Status::data_loss(chain(error)),
    }
}

pub(super) fn set(error: &SetError) -> Status {
    match error {
        SetError::Problems(problems) => refusal(problems),
        SetError::Lost { .. } => Status::aborted(error.to_string()),
        SetError::Read(error) => weights(error),
        SetError::Contended => Status::unavailable(error.to_string()),
        SetError::Uncertain(_) => Status::unavailable(chain(error)),
    }
}

pub(super) fn weights(error: &weights::ReadError) -> Status {
    match error {
        weights::ReadError::Store(error) => store(error),
        weights::ReadError::Unreadable { .. } => Status::data_loss(chain(error)),
    }
}

/// What a refused change of tokens means to a caller.
pub(super) fn tokens(error: &tokens::Error) -> Status {
    let message = error.to_string();
    match error {
        tokens::Error::Invalid(problem) => refusal(std::slice::from_ref(problem)),
        tokens::Error::Taken(_) => Status::already_exists(message),
        tokens::Error::Unknown { .. } => Status::not_found(message),
        tokens::Error::Full => Status::resource_exhausted(message),
        tokens::Error::Contended => Status::aborted(message),
        tokens::Error::Randomness => Status::internal(message),
        tokens::Error::Store(error) => store(error),
    }
}

/// What a refusal of a job means to a caller.
pub(super) fn jobs(error: &jobs::Error) -> Status {
    if let Some(refused) = jobs::wire::refused(error) {
        return refused;
    }
    match error {
        jobs::Error::Problems(problems) => refusal(problems),
        jobs::Error::Store(error) => store(error),
        jobs::Error::Record(error) => Status::data_loss(chain(error)),
        _ => Status::unavailable(chain(error)),
    }
}

/// What a refused order means to a caller.
pub(super) fn orders(error: &orders::Error) -> Status {
    let message = error.to_string();
    match error {
        orders::Error::Name(name) => refusal(&[name.clone().into()]),
        orders::Error::Store(error) => store(error),
        orders::Error::Record(error) => Status::data_loss(chain(error)),
        orders::Error::Busy(_) => Status::aborted(message),
        orders::Error::Connected(_) => Status::failed_precondition(message),
        orders::Error::Unknown(_) => Status::not_found(message),
    }
}

/// What a backend that did not get what it asked for is told.
pub(super) fn backends(error: &backends::Error) -> Status {
    let message = error.to_string();
    match error {
        backends::Error::Invalid(problems) => refusal(problems),
        backends::Error::Full(_) | backends::Error::Exceeded(_) => {
            Status::resource_exhausted(message)
        }
        backends::Error::NotRegistered => Status::not_found(message),
        backends::Error::WrongRegistration | backends::Error::Taken { .. } => {
            Status::already_exists(message)
        }
        backends::Error::NotWritten(_) | backends::Error::Stopped => Status::unavailable(message),
        backends::Error::Store(error) => store(error),
    }
}

/// What a store that did not do it means to a caller.
pub(super) fn store(error: &store::Error) -> Status {
    let message = error.to_string();
    match error {
        store::Error::Invalid(_) | store::Error::Refused { .. } => Status::internal(message),
        store::Error::Full | store::Error::Busy { .. } => Status::resource_exhausted(message),
        store::Error::Denied { .. } => Status::failed_precondition(message),
        store::Error::Compacted { .. }
        | store::Error::Future { .. }
        | store::Error::LeaseNotFound
        | store::Error::Late { .. }
        | store::Error::Unavailable { .. }
        | store::Error::Silent { .. } => Status::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::tuning::Code as Kind;

    #[test]
    fn however_many_problems_there_are_the_status_fits_its_headers() {
        let problem = |n: usize| {
            let value = "ä".repeat(n % 70);
            Problem::new(format!("ingress.{n}"), Kind::Range, "is\nodd", value).bounded("0 to 1")
        };
        for count in [1, 2, 40, 1_000] {
            let problems: Vec<Problem> = (0..count).map(problem).collect();
            let status = refusal(&problems);
            assert!(status.message().len() <= MESSAGE_BYTES_MAX + 20);
            assert!(status.details().len() <= DETAILS_BYTES_MAX);
            assert!(
                status
                    .message()
                    .starts_with("ingress.0: `` is odd (allowed: 0 to 1)")
            );
            let told = PutProblems::decode(status.details()).unwrap().problems;
            assert_eq!(told[0].path, "ingress.0");
            let lines = status.message().lines().count();
            let is_cut = status.message().ends_with("more");
            assert!(is_cut || lines == count, "{lines} of {count}");
        }
        let long = Problem::new("x", Kind::Range, "y".repeat(5_000), "");
        assert!(refusal(&[long]).message().len() <= MESSAGE_BYTES_MAX);
    }
}
