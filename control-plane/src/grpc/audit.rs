//! `weir.control.v1.Audit`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::audit_server;

use super::status;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::governance::{NowUnixMs, audit};
use crate::store::Store;

/// Shows what was done, by whom.
#[derive(Clone)]
pub struct AuditService {
    store: Arc<dyn Store>,
    prefix: Arc<str>,
    now: NowUnixMs,
}

impl AuditService {
    /// A service over the records below a prefix; it belongs behind a guard.
    pub fn new(store: Arc<dyn Store>, prefix: &str, now: NowUnixMs) -> Self {
        Self {
            store,
            prefix: Arc::from(prefix),
            now,
        }
    }
}

#[tonic::async_trait]
impl audit_server::Audit for AuditService {
    async fn list_audit(
        &self,
        request: Request<pb::ListAuditRequest>,
    ) -> Result<Response<pb::ListAuditResponse>, Status> {
        allow(&request, &Action::ReadAudit)?;
        let entries_max = entries_max(request.get_ref().entries_max)?;
        let now_unix_ms = (self.now)();
        let listed = audit::list(&*self.store, &self.prefix, entries_max, now_unix_ms).await;
        let records = listed.map_err(|error| status::store(&error))?;
        Ok(Response::new(pb::ListAuditResponse { records }))
    }
}

fn entries_max(asked: u32) -> Result<usize, Status> {
    let out_of_bounds = || {
        let bound = audit::ENTRIES_MAX;
        let default = audit::ENTRIES_DEFAULT;
        Status::invalid_argument(format!(
            "entries_max is {asked}; allowed: 1 to {bound}, or 0 for {default}"
        ))
    };
    match usize::try_from(asked) {
        Ok(0) => Ok(audit::ENTRIES_DEFAULT),
        Ok(asked) if asked <= audit::ENTRIES_MAX => Ok(asked),
        _ => Err(out_of_bounds()),
    }
}
