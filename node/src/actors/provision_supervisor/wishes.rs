//! Wishes that a node has by itself. They are told as those of callers are.

use std::sync::Arc;

use tokio::time::Instant;
use weir_control_plane::jobs::{Error, JobQueue};

use super::handle::{Wish, new_job};
use super::told;
use crate::config::ProvisionSettings;
use crate::events::{Events, Limit};
use crate::telemetry::spans::{SpanKind, Tracer};
use crate::telemetry::steps::{LIMIT, StepTrace};

/// Adds the job of a wish, unless it is there already: its id. The job's spans are under the one that is begun here.
///
/// # Errors
/// When the queue does not take it.
pub(super) async fn enqueue(
    queue: &Arc<dyn JobQueue>,
    mut wish: Wish,
    limits: &ProvisionSettings,
    (events, tracer): (&Events, &Tracer),
) -> Result<String, Error> {
    let whole = ("engine.wish", SpanKind::Internal);
    let mut trace = StepTrace::begin(tracer, None, whole, Instant::now());
    trace.note(("weir.service", wish.service.to_string().into()));
    trace.step("job.enqueue", SpanKind::Producer);
    wish.trace = trace.context();
    let (service, reason) = (wish.service.clone(), wish.reason.clone());
    let enqueued = match queue.enqueue(new_job(wish, limits)).await {
        Ok(enqueued) => enqueued,
        Err(error) => {
            if matches!(error, Error::Full { .. }) {
                trace.note((LIMIT, Limit::Queue.as_str().into()));
            }
            trace.finish(Some(error.to_string()));
            return Err(error);
        }
    };
    if !enqueued.already {
        trace.note_step(("weir.job", enqueued.job_id.clone().into()));
        trace.finish(None);
        told::enqueued(events, &enqueued.job_id, &service, reason);
    }
    Ok(enqueued.job_id)
}
