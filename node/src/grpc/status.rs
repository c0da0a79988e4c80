//! The only place where the node's errors become gRPC statuses.

use tonic::Status;
use tonic::metadata::MetadataValue;

use crate::actors::load_balancer::CommandError;
use crate::broadcast::PublishError;
use crate::broadcast::mesh::MeshError;
use crate::cache_api;
use crate::engine_api;
use crate::link::Refused;

/// What a load balancer that did not answer means to a caller.
pub(super) fn of_refused(refused: Refused) -> Status {
    of_actor(refused, format!("load balancer: {refused}"))
}

fn of_actor(refused: Refused, message: String) -> Status {
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

/// What it means to a caller that something was not done with engines or ports.
pub(super) fn of_engines(error: &engine_api::Error) -> Status {
    use engine_api::Error;
    let message = error.to_string();
    match error {
        Error::UnknownEngine(_) | Error::UnknownVpn(_) | Error::Nowhere { .. } => {
            Status::not_found(message)
        }
        Error::Refused { refused, .. } => of_actor(*refused, message),
        Error::Logs { .. } | Error::Owner { .. } | Error::Elsewhere { .. } => {
            Status::unavailable(message)
        }
    }
}

/// What it means to a caller that something was not done with the cache.
pub(super) fn of_cache(error: &cache_api::Error) -> Status {
    let mut status = Status::new(error.code(), error.to_string());
    if matches!(error, cache_api::Error::NotOwner { .. }) {
        let yes = MetadataValue::from_static("1");
        status.metadata_mut().insert(cache_api::NOT_OWNER, yes);
    }
    status
}

/// What it means to a publisher that a message is not published.
pub(super) fn of_publish(error: &PublishError) -> Status {
    match error {
        PublishError::Refused(refused) | PublishError::Mesh(MeshError::Refused(refused)) => {
            of_refused_message(refused)
        }
        PublishError::Mesh(MeshError::RefusedThere { .. }) => {
            Status::invalid_argument(error.to_string())
        }
        PublishError::Mesh(MeshError::Unreachable { .. }) => Status::unavailable(error.to_string()),
    }
}

/// What it means to a caller that a request for messages does not do.
pub(super) fn of_refused_message(refused: &weir_core::broadcast::Refused) -> Status {
    use weir_core::broadcast::Refused;
    match refused {
        Refused::TooMany { .. } | Refused::Full { .. } => {
            Status::resource_exhausted(refused.to_string())
        }
        _ => Status::invalid_argument(refused.to_string()),
    }
}
