//! The leader's key: taking it, keeping it, giving it back.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use weir_proto::control::records::v1::Leader;

use super::{Fence, LEADS_FOR, TTL};
use crate::records;
use crate::store::{Compare, Error, LeaseId, Op, Store, Txn};

/// The key, as its owner or as a candidate.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Bytes,
    value: Bytes,
}

/// A leadership.
#[derive(Clone, Debug)]
pub(super) struct Mandate {
    pub(super) lease: LeaseId,
    pub(super) fence: Fence,
    /// When the last keep-alive that worked was sent.
    pub(super) sent: Instant,
}

impl Mandate {
    /// When it is over, unless it is renewed.
    pub(super) fn ends_at(&self) -> Instant {
        self.sent + LEADS_FOR
    }
}

/// How a campaign ended.
#[derive(Debug)]
pub(super) enum Campaign {
    Won(Mandate),
    /// Somebody has the seat.
    Lost,
}

impl Seat {
    pub(super) fn new(store: Arc<dyn Store>, key: Bytes, instance: &str) -> Self {
        let value = records::encode(&Leader {
            instance: instance.to_owned(),
        });
        Self { store, key, value }
    }

    /// Takes the seat if it is free.
    pub(super) async fn campaign(self) -> Result<Campaign, Error> {
        let sent = Instant::now();
        let lease = self.store.grant(TTL).await?.id;
        let campaign = self.take(lease, sent).await;
        if !matches!(campaign, Ok(Campaign::Won(_))) {
            // The lease ends by itself if this fails. If the seat was taken without our knowing, it frees it.
            let _ = self.store.revoke(lease).await;
        }
        campaign
    }

    async fn take(&self, lease: LeaseId, sent: Instant) -> Result<Campaign, Error> {
        let taken = self.store.txn(Txn {
            when: vec![Compare::Absent(self.key.clone())],
            then: vec![Op::Put {
                key: self.key.clone(),
                value: self.value.clone(),
                lease: Some(lease),
            }],
            or_else: Vec::new(),
        });
        let won = |term| {
            let key = self.key.clone();
            let fence = Fence { key, term };
            Campaign::Won(Mandate { lease, fence, sent })
        };
        match taken.await {
            Ok(outcome) if outcome.succeeded => Ok(won(outcome.revision)),
            Ok(_) => Ok(Campaign::Lost),
            Err(error) if error.is_ambiguous() => {
                // Nobody else has this lease, so it tells whose the key is.
                let found = self.store.get(self.key.clone(), None).await?;
                let ours = found.filter(|entry| entry.lease == Some(lease));
                ours.map_or(Err(error), |entry| Ok(won(entry.create_revision)))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the seat back, if it is still that of this mandate.
    pub(super) async fn give_back(self, mandate: Mandate) -> Result<(), Error> {
        self.store
            .txn(Txn {
                when: vec![mandate.fence.guard()],
                then: vec![Op::Delete(self.key.clone())],
                or_else: Vec::new(),
            })
            .await?;
        self.store.revoke(mandate.lease).await
    }
}
