//! What a node begins with: what its disk kept.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;
use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1 as pb;

use super::held::HeldSet;
use super::payload::{self, Offered};
use crate::actors::config_agent::last_known_good::Boot;
use crate::config::{Give, Given};
use crate::ports::clock::WallClock;

/// What a node held when it ended, as its disk tells.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub(super) held: BTreeMap<i32, HeldSet>,
    pub(super) offered: Option<Offered>,
    pub(super) quarantined: Vec<Vec<u8>>,
    pub(super) rolled_back: Option<Problem>,
    given: Given,
}

impl Start {
    /// Reads the last known good. What cannot be read is left out and told.
    pub fn of(boot: &Boot, clock: &WallClock) -> Self {
        let mut start = Self {
            quarantined: boot.quarantined.iter().map(|q| q.hash.0.to_vec()).collect(),
            ..Self::default()
        };
        if boot.rolled_back.is_some() {
            let reason = boot.quarantined.last().map_or("", |q| q.reason.as_str());
            let message = format!("{reason}; back to {}", boot.back_to());
            start.rolled_back = Some(Problem::new("profile", Code::Quarantined, message, ""));
        }
        let Some(content) = &boot.start_from else {
            return start;
        };
        let Ok(kept) = pb::LastKnownGood::decode(content.payload.clone()) else {
            tracing::error!("the last known good cannot be read");
            return start;
        };
        for push in &kept.sets {
            match HeldSet::default().after(push) {
                Ok(set) => start.hold(push.r#type(), set, clock),
                Err(error) => tracing::error!(%error, "a part of the last known good is left out"),
            }
        }
        start
    }

    /// What the node starts from.
    pub fn given(&self) -> &Given {
        &self.given
    }

    fn hold(&mut self, kind: pb::ResourceType, set: HeldSet, clock: &WallClock) {
        let given = std::mem::take(&mut self.given);
        self.given = match kind {
            pb::ResourceType::Weights => given.with(Give::Weights(payload::weights(&set))),
            pb::ResourceType::Endpoints => given.with(Give::Endpoints(payload::endpoints(&set))),
            pb::ResourceType::Profile => {
                let sent_at = Duration::from_millis(set.sent_at_unix_ms());
                let elapsed = clock.unix_now().saturating_sub(sent_at);
                let now = Instant::now();
                self.offered = Offered::of(&set, elapsed, now);
                if let Some(offered) = &mut self.offered {
                    offered.origin = "last-known-good";
                }
                let sound = self
                    .offered
                    .as_ref()
                    .filter(|offered| offered.problems.is_empty());
                match sound {
                    Some(offered) => given.with(Give::Profile(offered.at(now))),
                    None => given,
                }
            }
            _ => given,
        };
        self.held.insert(kind as i32, set);
    }
}
