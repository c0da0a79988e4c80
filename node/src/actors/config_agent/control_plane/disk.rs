//! The taker's way with the disk.

use prost::Message as _;
use weir_core::probation;
use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1 as pb;
use weir_proto::sync::{ContentHash, content_hash};

use super::taker::{KEPT, Taker};
use crate::actors::config_agent::last_known_good;

impl Taker {
    /// Says to the disk what comes into force; quarantined content does not.
    pub(super) async fn announce(&mut self, hash: Option<ContentHash>) -> Result<(), Problem> {
        let Some(keeper) = &self.ends.keeper else {
            return Ok(());
        };
        let hash = hash.map(probation::ContentHash);
        match keeper.coming_into_force(hash).await {
            Err(last_known_good::Error::Quarantined { hash, reason }) => {
                let problem = Problem::new("profile", Code::Quarantined, reason, hash.to_string());
                Err(problem)
            }
            Err(_) | Ok(()) => Ok(()), // The keeper tells of the disk.
        }
    }

    /// Keeps what is in force on disk: the profile that was taken last, and everything else that is held.
    pub(super) async fn keep(&self) {
        let Some(keeper) = &self.ends.keeper else {
            return;
        };
        let in_force = self.in_force.as_ref();
        let set = |kind: &pb::ResourceType| match kind {
            pb::ResourceType::Profile => in_force.map(|in_force| in_force.set.as_push(*kind)),
            _ => Some(self.held.get(&(*kind as i32))?.as_push(*kind)),
        };
        let sets: Vec<pb::Push> = KEPT.iter().filter_map(set).collect();
        let Some(epoch) = sets.first().map(|push| push.epoch.clone()) else {
            return;
        };
        // Without a profile it is the empty one that is in force.
        let hash = in_force.map_or_else(|| content_hash(&[]), |in_force| in_force.hash);
        let payload = pb::LastKnownGood { sets }.encode_to_vec().into();
        let hash = probation::ContentHash(hash);
        // The keeper tells of the disk.
        let _ = keeper.store(payload, hash, epoch).await;
    }
}
