//! Ends registrations for good: what is left in the store keeps instances that still believe in one from bringing it
//! back. It dies with a lease that nobody renews, later than any instance waits for a heartbeat.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;
use weir_proto::control::records::v1 as records_pb;
use weir_proto::control::records::v1::Registration;

use super::{Backends, Error, TAKE_OVERS_MAX, TTL, WRITE_LIMIT};
use crate::keys::{InvalidName, Key, Keys};
use crate::records;
use crate::store::{self, Compare, LeaseId, Op, Revision, Store, Txn};

/// How long one lease is used for what ends; a lease is dear, and each of these would need its own.
const LEASE_USED_FOR: Duration = Duration::from_secs(600);

/// The lease that what ends now is kept under.
#[derive(Debug, Default)]
pub(super) struct GoneLease(Mutex<Option<(LeaseId, Instant)>>);

impl GoneLease {
    /// One that lives for longer than any backend's time to live.
    async fn get(&self, store: &dyn Store) -> Result<LeaseId, store::Error> {
        let mut held = self.0.lock().await;
        let now = Instant::now();
        if let Some((lease, granted)) = *held
            && now.duration_since(granted) < LEASE_USED_FOR
        {
            return Ok(lease);
        }
        // Twice: an instance that is stopped for a while may wind its timers late.
        let lease = store.grant(LEASE_USED_FOR + 2 * *TTL.end()).await?;
        *held = Some((lease.id, now));
        Ok(lease.id)
    }

    /// The store does not know it any more.
    async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// A registration that is to end.
pub(super) struct Ending<'a> {
    pub(super) key: &'a Bytes,
    pub(super) service: &'a str,
    pub(super) backend_id: &'a str,
    /// Which; of whoever has the name if it is none.
    pub(super) registration_id: Option<&'a str>,
    /// What else is written with it.
    pub(super) also: Vec<Op>,
    pub(super) now_unix_ms: u64,
}

/// Where it is kept that a registration was ended.
pub(super) fn gone_key(
    keys: &Keys,
    service: &str,
    backend: &str,
    registration: &str,
) -> Result<Bytes, InvalidName> {
    keys.of(&Key::Gone {
        service,
        backend,
        registration,
    })
}

impl Backends {
    /// Ends a registration, and tells what it was; `None` if it is not there, and then nothing but its end is written.
    pub(super) async fn end(&self, ending: &Ending<'_>) -> Result<Option<Registration>, Error> {
        for _ in 0..TAKE_OVERS_MAX {
            let found = match ending.registration_id {
                Some(id) => match self.registered(ending.key, id).await {
                    Ok(found) => Some(found),
                    Err(Error::NotRegistered) => None,
                    Err(error) => return Err(error),
                },
                None => Some(self.whoever(ending.key).await?),
            };
            if self.try_end(ending, found.as_ref()).await? {
                return Ok(found.map(|(_, registration)| registration));
            }
        }
        Err(Error::NotWritten(WRITE_LIMIT))
    }

    /// False if what is there changed meanwhile.
    async fn try_end(
        &self,
        ending: &Ending<'_>,
        found: Option<&(Revision, Registration)>,
    ) -> Result<bool, Error> {
        let found_id = found.map(|(_, registration)| registration.registration_id.as_str());
        let Some(id) = found_id.or(ending.registration_id) else {
            return Ok(true);
        };
        let Ok(gone) = gone_key(&self.keys, ending.service, ending.backend_id, id) else {
            // No registration is called so.
            return Ok(true);
        };
        let seen = found.map_or(Revision(0), |(seen, _)| *seen);
        let when = vec![Compare::ModRevision(ending.key.clone(), seen)];
        let lease = self.gone.get(&*self.store).await?;
        let mut then = vec![Op::Put {
            key: gone,
            value: records::encode(&records_pb::Gone {
                at_unix_ms: ending.now_unix_ms,
            }),
            lease: Some(lease),
        }];
        if found.is_some() {
            then.push(Op::Delete(ending.key.clone()));
            then.extend(ending.also.iter().cloned());
        }
        match self.store.txn(Txn::only_if(when, then)).await {
            Ok(outcome) => Ok(outcome.succeeded),
            Err(store::Error::LeaseNotFound) => {
                self.gone.forget().await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The registration at a key, whosever it is. One that cannot be read is removed by its key.
    async fn whoever(&self, key: &Bytes) -> Result<(Revision, Registration), Error> {
        let found = self.store.get(key.clone(), None).await?;
        let found = found.ok_or(Error::NotRegistered)?;
        let registration = records::decode(&found.key, &found.value)
            .inspect_err(|error| tracing::warn!(%error, "a registration cannot be read"));
        let unread = || Registration {
            registration_id: "unreadable".to_owned(),
            ..Registration::default()
        };
        Ok((
            found.mod_revision,
            registration.unwrap_or_else(|_| unread()),
        ))
    }
}
