//! `weir.control.v1.Audit`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::audit_server;

use super::{entries_max, status};
use crate::clock::NowUnixMs;
use crate::governance::audit;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::keys::Keys;
use crate::store::Store;

/// Shows what was done, by whom.
#[derive(Clone)]
pub struct AuditService {
    store: Arc<dyn Store>,
    keys: Keys,
    now: NowUnixMs,
}

impl AuditService {
    /// A service over the records of a store; it belongs behind a guard.
    pub fn new(store: Arc<dyn Store>, keys: Keys, now: NowUnixMs) -> Self {
        Self { store, keys, now }
    }
}

#[tonic::async_trait]
impl audit_server::Audit for AuditService {
    async fn list_audit(
        &self,
        request: Request<pb::ListAuditRequest>,
    ) -> Result<Response<pb::ListAuditResponse>, Status> {
        allow(&request, &Action::ReadAudit)?;
        let asked = request.get_ref().entries_max;
        let entries_max = entries_max(asked, audit::ENTRIES_DEFAULT, audit::ENTRIES_MAX)?;
        let now_unix_ms = (self.now)();
        let listed = audit::list(&*self.store, &self.keys, entries_max, now_unix_ms).await;
        let records = listed.map_err(|error| status::store(&error))?;
        Ok(Response::new(pb::ListAuditResponse { records }))
    }
}
