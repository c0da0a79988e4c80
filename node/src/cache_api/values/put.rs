//! Puts and touches.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use weir_cache::aside::{PutOrder, PutRefused, version_of};
use weir_cache::{Entry, Resource};
use weir_core::aside::{check_tags, check_value, value_ttl};
use weir_proto::node::v1 as pb;

use super::super::{CacheApi, Error};
use super::forward::Client;
use super::{millis_until, not_kept};

/// A purge may be dated later than it was told, by how far clocks of nodes are apart. Whoever puts after it waits for
/// that time to come, at most for so long.
const PURGE_AHEAD_MAX: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl CacheApi {
    /// Puts a value.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Precondition`], [`Error::Away`], [`Error::NotOwner`], what the key's
    /// owner says.
    pub async fn put_value(
        &self,
        request: pb::PutValueRequest,
        is_hop: bool,
    ) -> Result<pb::PutValueResponse, Error> {
        let resource = self.value_resource(request.key.as_ref())?;
        check_value(&request.value)?;
        check_tags(&request.tags)?;
        let ttl = self.ttl(request.ttl_ms)?;
        if request.if_absent && request.if_version.is_some() {
            return Err(Error::invalid("if_absent", "goes with no if_version"));
        }
        if let Some(owner) = self.owner_of(&resource, is_hop) {
            let put = |mut client: Client, request| async move { client.put(request).await };
            return self.ask(&owner, Some(PURGE_AHEAD_MAX), request, put).await;
        }
        let order = PutOrder {
            resource,
            value: Bytes::from(request.value.into_boxed_slice()),
            tags: request.tags,
            ttl,
            if_version: request.if_version,
            if_absent: request.if_absent,
            lease: Some(request.lease).filter(|lease| !lease.is_empty()),
        };
        self.put_here(order).await
    }

    async fn put_here(&self, order: PutOrder) -> Result<pb::PutValueResponse, Error> {
        let is_compared = order.if_absent || order.if_version.is_some() || order.lease.is_some();
        let beneath = match is_compared {
            true => self.value_here(&order.resource).await,
            false => None,
        };
        let beneath = beneath.map(|(entry, _)| entry);
        let deadline = Instant::now() + PURGE_AHEAD_MAX;
        loop {
            self.check_owned(&order.resource)?;
            let put =
                self.store()
                    .put_value(order.clone(), &self.node, beneath.clone(), self.now());
            match put {
                Ok(entry) => return Ok(self.is_put(&entry)),
                Err(PutRefused::Purged) if order.lease.is_none() && Instant::now() < deadline => {
                    sleep(LOOK_AGAIN).await;
                }
                Err(refused) => {
                    return Err(told(refused, &order.resource, order.if_version.as_deref()));
                }
            }
        }
    }

    /// Gives a value another time to live.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoValue`], [`Error::Precondition`], [`Error::Away`], [`Error::NotOwner`], what the
    /// key's owner says.
    pub async fn touch_value(
        &self,
        request: pb::TouchValueRequest,
        is_hop: bool,
    ) -> Result<pb::PutValueResponse, Error> {
        let resource = self.value_resource(request.key.as_ref())?;
        let ttl = self.ttl(request.ttl_ms)?;
        if let Some(owner) = self.owner_of(&resource, is_hop) {
            let touch = |mut client: Client, request| async move { client.touch(request).await };
            return self.ask(&owner, None, request, touch).await;
        }
        let beneath = self.value_here(&resource).await.map(|(entry, _)| entry);
        self.check_owned(&resource)?;
        let wanted = request.if_version.as_deref();
        let touched =
            self.store()
                .touch_value(&resource, (ttl, wanted), &self.node, beneath, self.now());
        match touched {
            Ok(entry) => Ok(self.is_put(&entry)),
            Err(PutRefused::Absent | PutRefused::Purged) => Err(not_kept(&resource)),
            Err(refused) => Err(told(refused, &resource, wanted)),
        }
    }

    fn ttl(&self, ttl_ms: u64) -> Result<Duration, Error> {
        Ok(value_ttl(ttl_ms, self.store().shared().aside_ttl)?)
    }

    fn is_put(&self, entry: &Entry) -> pb::PutValueResponse {
        pb::PutValueResponse {
            version: version_of(entry).to_owned(),
            ttl_ms: millis_until(entry.stored.fresh_until, self.now()),
        }
    }
}

fn told(refused: PutRefused, resource: &Resource, wanted: Option<&str>) -> Error {
    let field = match refused {
        PutRefused::Absent | PutRefused::OtherVersion { .. } => "if_version",
        PutRefused::Present { .. } => "if_absent",
        PutRefused::LeaseEnded | PutRefused::Overtaken { .. } | PutRefused::Purged => "lease",
        PutRefused::TooLarge { .. } => return Error::invalid("value", refused.to_string()),
        PutRefused::Busy { .. } => {
            let why = refused.to_string();
            return Error::Busy { what: "value", why };
        }
    };
    let wanted = wanted.map_or_else(String::new, |wanted| format!("`{wanted}`, but "));
    Error::Precondition {
        field,
        why: format!("{wanted}{refused} (key `{}`)", resource.path()),
    }
}
