//! One load for everybody who wants the same.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weir_cache::Resource;
use weir_cache::aside::ValueOrLease;
use weir_core::aside::{LEASES_MAX, lease_ttl, load_wait};
use weir_core::purge::Hlc;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::load_value_response::Outcome;

use super::super::{CacheApi, Error};
use super::forward::Client;
use super::{Tier, millis_until};

/// Beyond a lease's end, so that it has ended when it is looked at.
const PAST_THE_END: Duration = Duration::from_millis(1);

impl CacheApi {
    /// A value, or the lease to load it, or that somebody else still loads it.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Busy`], [`Error::NotOwner`], what the key's owner says.
    pub async fn load_value(
        &self,
        request: pb::LoadValueRequest,
        is_hop: bool,
    ) -> Result<pb::LoadValueResponse, Error> {
        let resource = self.value_resource(request.key.as_ref())?;
        let lease = lease_ttl(request.lease_ms)?;
        let wait = load_wait(request.wait_ms)?;
        if let Some(owner) = self.owner_of(&resource, is_hop) {
            let load =
                |mut client: Client, request| async move { client.get_or_load(request).await };
            match self.ask(&owner, Some(wait), request, load).await {
                Err(Error::Away { .. }) => {}
                told => return told,
            }
        }
        if is_hop {
            self.check_owned(&resource)?;
        }
        let outcome = self.load_here(&resource, lease, wait).await?;
        Ok(pb::LoadValueResponse {
            outcome: Some(outcome),
        })
    }

    async fn load_here(
        &self,
        resource: &Resource,
        lease: Duration,
        wait: Duration,
    ) -> Result<Outcome, Error> {
        let (store, deadline) = (self.store(), Instant::now() + wait);
        if let Some((entry, tier)) = self.value_here(resource).await {
            return Ok(Outcome::Value(self.shown(&entry, tier)));
        }
        let mut place = None;
        loop {
            let mut turn = pin!(store.values.turn(resource).notified());
            turn.as_mut().enable();
            let now = self.now();
            let ends = match store.value_or_lease(resource, &self.node, now, now.after(lease)) {
                ValueOrLease::Value(entry) => {
                    return Ok(Outcome::Value(self.shown(&entry, Tier::Memory)));
                }
                ValueOrLease::Lease(began) => return Ok(granted(began, lease)),
                ValueOrLease::Full => {
                    return Err(busy(format!("{LEASES_MAX} loads are under way")));
                }
                ValueOrLease::Held(ends) => ends,
            };
            let ends_in_ms = millis_until(ends, now);
            if Instant::now() >= deadline {
                return Ok(Outcome::Loading(pb::LoadUnderWay { ends_in_ms }));
            }
            if place.is_none() {
                let taken = store.values.wait();
                place = Some(taken.ok_or_else(|| busy("too many wait for loads".to_owned()))?);
            }
            let ended = Instant::now() + Duration::from_millis(ends_in_ms) + PAST_THE_END;
            let _ = timeout_at(deadline.min(ended), turn).await;
        }
    }
}

fn granted(began: Hlc, lease: Duration) -> Outcome {
    Outcome::Lease(pb::LoadLease {
        lease: format!("{:x}-{:x}", began.time(), began.node()),
        ends_in_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
    })
}

fn busy(why: String) -> Error {
    Error::Busy { what: "loads", why }
}
