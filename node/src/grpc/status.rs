//! The only place where the node's errors become gRPC statuses.

use tonic::Status;

use crate::actors::load_balancer::CommandError;
use crate::link::Refused;

/// What an actor that did not answer means to a caller.
pub(super) fn of_refused(refused: Refused) -> Status {
    let message = format!("load balancer: {refused}");
    match refused {
        Refused::Full => Status::resource_exhausted(message),
        Refused::Away => Status::unavailable(message),
        Refused::Late => Status::deadline_exceeded(message),
    }
}

/// What a refused command means to a caller.
pub(super) fn of_command(error: &CommandError) -> Status {
    match error {
        CommandError::UnknownService(_) | CommandError::UnknownBackend { .. } => {
            Status::not_found(error.to_string())
        }
    }
}
