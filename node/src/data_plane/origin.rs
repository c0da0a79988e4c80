//! Where answers come from: the files of this machine, or a backend.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::ResponseBody;
use super::core::Core;
use super::exchange::Exchange;
use super::request::{Refused, Routed, Upgrade};
use super::{files, forward, waiting};
use crate::config::Ingress;

/// Asks the origin of a routed request; the body of its answer still runs.
pub(super) async fn send(
    core: &Rc<Core>,
    limits: &Ingress,
    routed: &Routed,
    request: Request<Option<Incoming>>,
    exchange: Box<Exchange>,
    upgrade: Option<Upgrade>,
) -> Result<Response<ResponseBody>, Refused> {
    let service = routed.service();
    if let Some(settings) = &service.settings.files {
        // A server may decline to upgrade (RFC 9110 section 7.8).
        return Ok(files::answer(core, routed, settings, &request, exchange).await);
    }
    if !waiting::is_needed(service) {
        return forward::forward(core, limits, routed, request, exchange, upgrade).await;
    }
    // On the heap, so that a request that does not wait carries nothing of it.
    let begun = Instant::now();
    let waited = Box::pin(waiting::for_engine(
        core,
        routed,
        request.headers(),
        &exchange,
    ))
    .await;
    if let Some(trace) = &exchange.trace {
        trace.step("engine.wait", begun);
    }
    match waited {
        Ok(routed) => forward::forward(core, limits, &routed, request, exchange, upgrade).await,
        Err(reason) => Err(Refused { reason, exchange }),
    }
}
