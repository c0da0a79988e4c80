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
            trace_context: String::new(),
            layers: Vec::new(),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const KIND: pb::ResourceType = pb::ResourceType::Weights;

    /// A set of one resource with this content, as of this version.
    fn set(content: u8, version: u64) -> ResourceSet {
        let mut set = ResourceSet::default();
        set.put("a", Bytes::from(vec![content]), version);
        set
    }

    fn push(lane: &mut Lane, set: &ResourceSet, nonce: u64) -> Option<pb::Push> {
        lane.push(set, "epoch", nonce, Instant::now())
    }

    #[test]
    fn one_push_is_in_flight_and_the_newest_state_is_next() {
        let mut lane = Lane::new(KIND, None);
        let mut there = set(1, 1);
        let first = push(&mut lane, &there, 1).unwrap();
        assert!(first.reset);
        assert_eq!(
            (first.version, &*first.epoch, first.r#type()),
            (1, "epoch", KIND)
        );
        for content in 2..9 {
            there.put("a", Bytes::from(vec![content]), content.into());
            assert_eq!(push(&mut lane, &there, content.into()), None);
        }
        assert_eq!(lane.acked(1, false), Answer::Expected);
        let next = push(&mut lane, &there, 9).unwrap();
        assert_eq!((next.reset, next.from_version, next.version), (false, 1, 8));
        assert_eq!(next.resources.len(), 1);
        assert_eq!(&*next.resources[0].payload, &[8]);
        assert_eq!(lane.acked(9, false), Answer::Expected);
        assert_eq!(push(&mut lane, &there, 10), None);
        assert_eq!(lane.held().unwrap().set_hash, there.set_hash());
    }

    #[test]
    fn what_is_held_already_is_not_sent_and_a_newer_version_of_it_is_noted() {
        let there = set(1, 7);
        let held = Held {
            version: 3,
            set_hash: there.set_hash(),
        };
        let mut lane = Lane::new(KIND, Some(held));
        assert_eq!(push(&mut lane, &there, 1), None);
        assert_eq!(lane.held().unwrap().version, 7);
        assert_eq!(lane.waiting(Instant::now()), None);
    }

    #[test]
    fn a_refused_push_is_not_sent_again_before_something_changes() {
        // A refusal is an answer as any other: the node holds the content, and does not have it in force.
        let mut lane = Lane::new(KIND, None);
        push(&mut lane, &set(1, 1), 1).unwrap();
        lane.acked(1, false);
        assert_eq!(push(&mut lane, &set(1, 1), 2), None);
        assert!(push(&mut lane, &set(2, 2), 2).is_some());
    }

    #[test]
    fn three_pushes_in_a_row_that_make_no_sense_are_hopeless() {
        let mut lane = Lane::new(KIND, None);
        for nonce in 1..RESYNCS_MAX {
            assert!(push(&mut lane, &set(1, 1), nonce.into()).unwrap().reset);
            assert_eq!(lane.acked(nonce.into(), true), Answer::Expected);
        }
        // One that does begins the count anew.
        push(&mut lane, &set(1, 1), 10).unwrap();
        assert_eq!(lane.acked(10, false), Answer::Expected);
        for nonce in 11..=10 + RESYNCS_MAX {
            let pushed = push(
                &mut lane,
                &set(nonce.try_into().unwrap(), nonce.into()),
                nonce.into(),
            );
            assert_eq!(pushed.unwrap().reset, nonce > 11);
            let hopeless = nonce == 10 + RESYNCS_MAX;
            let wanted = if hopeless {
                Answer::Hopeless
            } else {
                Answer::Expected
            };
            assert_eq!(lane.acked(nonce.into(), true), wanted);
        }
    }

    #[test]
    fn an_answer_to_nothing_is_unexpected_and_changes_nothing() {
        let mut lane = Lane::new(KIND, None);
        assert_eq!(lane.acked(0, false), Answer::Unexpected);
        push(&mut lane, &set(1, 1), 5).unwrap();
        assert_eq!(lane.acked(4, false), Answer::Unexpected);
        assert_eq!(lane.acked(4, true), Answer::Unexpected);
        assert_eq!(lane.held(), None);
        assert_eq!(lane.acked(5, false), Answer::Expected);
        assert_eq!(
            lane.acked(5, false),
            Answer::Unexpected,
            "each push has one answer"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_tells_for_how_long_an_answer_is_owed() {
        let mut lane = Lane::new(KIND, None);
        push(&mut lane, &set(1, 1), 1).unwrap();
        tokio::time::advance(STALE_AFTER).await;
        assert_eq!(lane.waiting(Instant::now()), Some(STALE_AFTER));
        lane.acked(1, false);
        assert_eq!(lane.waiting(Instant::now()), None);
    }
}
