//! One type of resources on one stream: at most one push in flight, the newest state next.

use std::time::Duration;

use tokio::time::Instant;
use weir_proto::control::v1 as pb;

use super::resources::{Delta, Held, ResourceSet};

/// No answer for this long is shown as stale.
pub const STALE_AFTER: Duration = Duration::from_secs(10);
/// No answer for this long ends the stream.
pub const RESET_AFTER: Duration = Duration::from_secs(30);

/// A node that cannot make sense of this many full pushes in a row is told to come back later.
pub const RESYNCS_MAX: u32 = 3;

/// A push that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    nonce: u64,
    then: Held,
    sent_at: Instant,
}

/// The lane.
#[derive(Debug)]
pub struct Lane {
    kind: pb::ResourceType,
    held: Option<Held>,
    in_flight: Option<InFlight>,
    resyncs: u32,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To the push in flight.
    Expected,
    /// To nothing that was asked: the node breaks the protocol.
    Unexpected,
    /// To the push in flight, once more without having made sense of it.
    Hopeless,
}

impl Lane {
    /// A lane to a node that says it holds this already.
    pub fn new(kind: pb::ResourceType, held: Option<Held>) -> Self {
        Self {
            kind,
            held,
            in_flight: None,
            resyncs: 0,
        }
    }

    /// The type.
    pub fn kind(&self) -> pb::ResourceType {
        self.kind
    }

    /// What the node holds, as far as it is known.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// The push that is due, if one is and none is in flight.
    pub fn push(
        &mut self,
        set: &ResourceSet,
        epoch: &str,
        nonce: u64,
        now: Instant,
    ) -> Option<pb::Push> {
        if self.in_flight.is_some() {
            return None;
        }
        let then = Held {
            version: set.version(),
            set_hash: set.set_hash(),
        };
        let (reset, put, removed) = match set.delta(self.held) {
            Delta::Nothing => {
                self.held = Some(then);
                return None;
            }
            Delta::All(all) => (true, all, Vec::new()),
            Delta::Changes { put, removed } => (false, put, removed),
        };
        self.in_flight = Some(InFlight {
            nonce,
            then,
            sent_at: now,
        });
        let resource =
            |(name, resource): (std::sync::Arc<str>, super::resources::Resource)| pb::Resource {
                name: name.to_string(),
                hash: resource.hash.to_vec(),
                payload: resource.payload,
            };
        Some(pb::Push {
            nonce,
            r#type: self.kind as i32,
            epoch: epoch.to_owned(),
            version: then.version,
            from_version: self.held.map_or(0, |held| held.version),
            reset,
            resources: put.into_iter().map(resource).collect(),
            removed: removed.iter().map(ToString::to_string).collect(),
            set_hash: then.set_hash.to_vec(),
            sent_at_unix_ms: 0,
        })
    }

    /// Takes note of an answer. A refusal holds the push as well: it is not sent again until something changes.
    pub fn acked(&mut self, nonce: u64, wants_all: bool) -> Answer {
        let Some(push) = self.in_flight.take_if(|push| push.nonce == nonce) else {
            return Answer::Unexpected;
        };
        if !wants_all {
            self.held = Some(push.then);
            self.resyncs = 0;
            return Answer::Expected;
        }
        self.held = None;
        self.resyncs += 1;
        match self.resyncs < RESYNCS_MAX {
            true => Answer::Expected,
            false => Answer::Hopeless,
        }
    }

    /// Versions begin anew: what the node holds and what is on its way compares by content alone.
    pub fn forget_version(&mut self) {
        let in_flight = self.in_flight.as_mut().map(|push| &mut push.then);
        for held in self.held.as_mut().into_iter().chain(in_flight) {
            held.version = 0;
        }
    }

    /// How long the push in flight has waited.
    pub fn waiting(&self, now: Instant) -> Option<Duration> {
        self.in_flight
            .map(|push| now.saturating_duration_since(push.sent_at))
    }
}
