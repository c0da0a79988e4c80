//! Where answers come from: the files of this machine, or a backend.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::body::ResponseBody;
use super::core::Core;
use super::exchange::Exchange;
use super::request::{Refused, Routed, Upgrade};
use super::{files, forward};
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
    match &routed.service().settings.files {
        // A server may decline to upgrade (RFC 9110 section 7.8).
        Some(settings) => Ok(files::answer(core, routed, settings, &request, exchange).await),
        None => forward::forward(core, limits, routed, request, exchange, upgrade).await,
    }
}
