//! Subscribers, who go from node to node with where they are, and check what they are told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use prost::Message as _;
use tokio::time::{Instant, sleep, sleep_until};
use weir_broadcast::{Connection, Encoding, Shard, Since, Writing};
use weir_core::broadcast::{Epoch, Pattern, Position};
use weir_node::broadcast::Broadcast;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What;

use super::history::Recorder;
use super::{TOPICS, WORK_UNTIL, number_of, topic};
use crate::history::now;

const STAY_MS: std::ops::Range<u64> = 100..4_000;
const AWAY_MS: std::ops::Range<u64> = 10..800;

/// Who waits for a node. Cheap to clone.
pub(super) type Pool = Rc<RefCell<Vec<Client>>>;

/// Where a subscriber is in a topic.
#[derive(Clone, Copy, Debug)]
struct At {
    position: (u64, u64),
    /// The answer to its position is to come first.
    resuming: bool,
    /// The epoch of the last message that came on this connection.
    came: u64,
}

/// A subscriber.
#[derive(Debug)]
pub(super) struct Client {
    name: String,
    by_pattern: bool,
    topics: Vec<usize>,
    at: BTreeMap<usize, At>,
}

/// Somebody who is on a node, and goes back into the pool however that ends.
struct Guest {
    client: Option<Client>,
    pool: Pool,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.pool.borrow_mut().extend(self.client.take());
    }
}

/// So many subscribers.
pub(super) fn pool(count: usize) -> Pool {
    let client = |number: usize| Client {
        name: format!("client-{number}"),
        by_pattern: number.is_multiple_of(3),
        topics: (0..TOPICS)
            .filter(|topic| (topic + number).is_multiple_of(2))
            .collect(),
        at: BTreeMap::new(),
    };
    Rc::new(RefCell::new((0..count).map(client).collect()))
}

/// Serves whoever comes, one after the other, for as long as the node works.
pub(super) async fn serve(
    broadcast: Broadcast,
    shard: Rc<Shard>,
    (pool, recorder): (Pool, Recorder),
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xc11e);
    loop {
        sleep(Duration::from_millis(random.u64(AWAY_MS))).await;
        let client = {
            let mut pool = pool.borrow_mut();
            let next = random.usize(..pool.len().max(1));
            (next < pool.len()).then(|| pool.swap_remove(next))
        };
        let Some(client) = client else { continue };
        let stay = match now() > WORK_UNTIL {
            // To the end.
            true => Duration::from_secs(3_600),
            false => Duration::from_millis(random.u64(STAY_MS)),
        };
        let mut guest = Guest {
            client: Some(client),
            pool: Rc::clone(&pool),
        };
        if let Some(client) = &mut guest.client {
            let until = Instant::now() + stay;
            client.stays(&broadcast, &shard, &recorder, until).await;
        }
    }
}

impl Client {
    async fn stays(
        &mut self,
        broadcast: &Broadcast,
        shard: &Rc<Shard>,
        recorder: &Recorder,
        until: Instant,
    ) {
        tracing::debug!(name = self.name, "comes");
        let connection = shard.connect(&self.name, Encoding::Grpc);
        if !self.subscribes(broadcast, &connection).await {
            return;
        }
        let mut writing = Writing::new();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = connection.ready() => {}
            }
            if let Err(reason) = connection.take(&mut writing, || broadcast.now()) {
                tracing::debug!(name = self.name, reason = reason.as_str(), "is cut");
                return;
            }
            while let Some(frame) = writing.pop() {
                let told = pb::Delivery::decode(frame).ok().and_then(|told| told.what);
                if let Some(what) = told {
                    self.is_told(what, recorder);
                }
            }
        }
    }

    async fn subscribes(&mut self, broadcast: &Broadcast, connection: &Connection) -> bool {
        let wanted: Vec<usize> = match self.by_pattern {
            true => self.at.keys().copied().collect(),
            false => self.topics.clone(),
        };
        let topics: Vec<_> = wanted.iter().map(|number| topic(*number)).collect();
        let mesh = broadcast.mesh();
        futures::future::join_all(topics.iter().map(|topic| mesh.follow(topic))).await;
        let time = broadcast.now();
        if self.by_pattern {
            let pattern = Pattern::new("t.*").expect("it is a pattern");
            if connection.subscribe_pattern(&pattern).is_err() {
                return false;
            }
        }
        for number in wanted {
            let known = self.at.get(&number).map(|at| Position {
                epoch: Epoch(at.position.0),
                offset: at.position.1,
            });
            let position = match (known, self.by_pattern) {
                (Some(position), true) => {
                    let done = connection.resume_matched(&topic(number), position, time);
                    done.map(|()| position)
                }
                (known, _) => {
                    let since = known.map_or(Since::Now, Since::Position);
                    let at = connection.subscribe(&topic(number), since, time);
                    at.map(|at| known.unwrap_or(at))
                }
            };
            let Ok(position) = position else { return false };
            let at = At {
                position: (position.epoch.0, position.offset),
                resuming: known.is_some(),
                came: 0,
            };
            self.at.insert(number, at);
        }
        true
    }

    fn is_told(&mut self, what: What, recorder: &Recorder) {
        self.takes(what, recorder);
        for (number, at) in &self.at {
            let who = (self.name.clone(), *number);
            recorder.note(|history| _ = history.at.insert(who, at.position));
        }
    }

    fn takes(&mut self, what: What, recorder: &Recorder) {
        match what {
            What::Batch(batch) => self.is_given(&batch, recorder),
            What::Gap(gap) => {
                let number = number_of(&gap.topic);
                let at = self
                    .at
                    .entry(number)
                    .or_insert(At::new(gap.epoch, gap.from - 1));
                let follows = at.position == (gap.epoch, gap.from - 1) && gap.from <= gap.to;
                let before = at.position;
                (at.position.1, at.resuming) = (gap.to, false);
                recorder.note(|history| {
                    history.gaps += 1;
                    if !follows {
                        let what = format!("{}: {gap:?} at {before:?}", self.name);
                        history.skips.push(what);
                    }
                });
            }
            What::Recovered(recovered) => self.recovers(&recovered, recorder),
            _ => {}
        }
    }

    fn recovers(&mut self, recovered: &pb::Recovered, recorder: &Recorder) {
        let number = number_of(&recovered.topic);
        let position = recovered.position.unwrap_or_default();
        let position = (position.epoch, position.offset);
        let at = self
            .at
            .entry(number)
            .or_insert(At::new(position.0, position.1));
        let wrong = recovered.ok && (!at.resuming || at.position != position);
        tracing::trace!(
            name = self.name,
            number,
            ok = recovered.ok,
            ?position,
            "recovered"
        );
        recorder.note(|history| {
            match recovered.ok {
                true => history.recovered += 1,
                false => history.restarted += 1,
            }
            if wrong {
                let what = format!("{}: {recovered:?} at {at:?}", self.name);
                history.skips.push(what);
            }
        });
        (at.position, at.resuming) = (position, false);
    }

    fn is_given(&mut self, batch: &pb::Batch, recorder: &Recorder) {
        let number = number_of(&batch.topic);
        let at = self
            .at
            .entry(number)
            .or_insert(At::new(batch.epoch, batch.after));
        let mut next = batch.after;
        let mut is_whole = at.position == (batch.epoch, batch.after) && !at.resuming;
        recorder.note(|history| {
            for message in &batch.messages {
                is_whole &= message.offset == next + 1;
                next = message.offset;
                let text = String::from_utf8_lossy(&message.data);
                history.knows((number, batch.epoch, message.offset), &text, &self.name);
                history.given += 1;
            }
            if !is_whole {
                let (after, name) = (batch.after, &self.name);
                let what = format!(
                    "{name}: t.{number} {:x} after {after} at {at:?}",
                    batch.epoch
                );
                history.skips.push(what);
            }
            if batch.epoch < at.came {
                let what = format!("{}: t.{number} {:x} at {at:?}", self.name, batch.epoch);
                history.epochs_back.push(what);
            }
        });
        (at.position, at.came) = ((batch.epoch, next), batch.epoch);
    }
}

impl At {
    const fn new(epoch: u64, offset: u64) -> Self {
        Self {
            position: (epoch, offset),
            resuming: false,
            came: 0,
        }
    }
}
