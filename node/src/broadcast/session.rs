//! One subscriber on its shard: does what it asks for, within its rights.

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesOrdered;
use weir_broadcast::{Connection, Control, Draft, Encoding, Shard, Since};
use weir_core::broadcast::{
    CutReason, POSITIONS_BYTES_MAX, Pattern, Position, Positions, TopicName,
};

use super::ask::{Ask, BadAsk};
use super::doors::{Coming, Place, Turned};
use super::opening::Opening;
use super::rights::{Denied, Face, Rights, Who};
use super::{Ack, Broadcast};

/// Answers that one subscriber may wait for at once; it is not listened to beyond.
const WORKING_MAX: usize = 64;

type Working = Pin<Box<dyn Future<Output = Done>>>;

/// What took its time.
enum Done {
    /// It is answered.
    Answered(Control),
    /// This node has what the owners of the topics have: they can be subscribed to.
    Followed(Ask),
}

/// What is there for a client.
#[derive(Debug)]
pub enum Next {
    /// Something to take.
    Frames,
    /// An answer.
    Answer(Control),
}

/// One subscriber.
pub struct Session {
    broadcast: Broadcast,
    connection: Connection,
    face: Face,
    /// Where the client is.
    from: IpAddr,
    who: Who,
    rights: Arc<Rights>,
    /// What takes its time, in the order in which it was asked for.
    working: FuturesOrdered<Working>,
    /// Asks among it that are not applied yet.
    following: usize,
    /// All nodes are being asked who has a topic.
    asks_presence: bool,
    place: Place,
}

impl Session {
    pub(super) fn new(
        broadcast: &Broadcast,
        shard: &Rc<Shard>,
        coming: &Coming,
        who: Who,
        encoding: Encoding,
        place: Place,
    ) -> Self {
        let client = format!("{}@{}", who.name, coming.peer);
        Self {
            connection: shard.connect(&client, encoding),
            broadcast: broadcast.clone(),
            face: coming.face,
            from: coming.peer.ip(),
            who,
            rights: broadcast.rights(),
            working: FuturesOrdered::new(),
            following: 0,
            asks_presence: false,
            place,
        }
    }

    /// Does what the address asked for.
    pub(super) async fn open(&mut self, opening: &Opening) -> Result<(), Turned> {
        let max = self.broadcast.topics().limits().connection_topics_max;
        if opening.topics.len() > max {
            let what = format!("{} of them, at most {max}", opening.topics.len());
            return Err(BadAsk::new("topic", what).into());
        }
        let mut topics = opening.topics.iter().map(|(topic, _)| topic);
        topics.try_for_each(|topic| self.who.may_subscribe(topic))?;
        let topics = opening.topics.iter().map(|(topic, _)| topic);
        let matched = opening.matched.iter().map(|(topic, _)| topic);
        follow(&self.broadcast, topics.chain(matched)).await;
        for (topic, since) in &opening.topics {
            self.subscribe(topic, *since)?;
        }
        for pattern in &opening.patterns {
            self.subscribe_pattern(pattern)?;
        }
        for (topic, position) in &opening.matched {
            let now = self.broadcast.now();
            self.connection.resume_matched(topic, *position, now)?;
        }
        Ok(())
    }

    /// What waits for it.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The node that it is on.
    pub fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// Whether one line tells where it is in all topics that it asks for by name: else it could not come back.
    pub(super) fn fits_in_a_line(&self, opening: &Opening) -> Result<(), Turned> {
        let positions = self.positions(opening).to_string();
        match positions.len() <= POSITIONS_BYTES_MAX {
            true => Ok(()),
            false => {
                let bytes = positions.len();
                let what = format!(
                    "where they are takes {bytes} bytes, at most {POSITIONS_BYTES_MAX}; a WebSocket has no such bound"
                );
                Err(BadAsk::new("topic", what).into())
            }
        }
    }

    /// Topics by name and where they are now.
    pub fn positions(&self, opening: &Opening) -> Positions {
        let mut positions = Positions::default();
        for (topic, since) in &opening.topics {
            let position = match since {
                Since::Position(position) => Some(*position),
                Since::Start => self.broadcast.topics().start(topic),
                Since::Now => self
                    .broadcast
                    .topics()
                    .stat(topic)
                    .map(|stat| stat.position),
            };
            positions.name(topic, position.unwrap_or_default());
        }
        for (topic, position) in &opening.matched {
            positions.name(topic, *position);
        }
        positions
    }

    /// What the address asked for, answered; nothing if it asked for nothing.
    pub fn first(&self, opening: &Opening) -> Option<Control> {
        if opening.topics.is_empty() && opening.patterns.is_empty() {
            return None;
        }
        let positions = self.positions(opening);
        let topics = positions.iter();
        Some(Control::Subscribed {
            id: 0,
            topics: topics.map(|(topic, at)| (topic.clone(), at)).collect(),
        })
    }

    /// Ends all subscriptions; the place is given back with what is left.
    pub(super) fn end(self) -> Place {
        self.place
    }

    /// Whether it waits for as many answers as it may.
    pub fn is_full(&self) -> bool {
        self.working.len() >= WORKING_MAX
    }

    /// Until there is something for the client: frames to take, if they are wanted, or an answer that took its time.
    pub async fn next(&mut self, wants_frames: bool) -> Next {
        loop {
            let (connection, working) = (&self.connection, &mut self.working);
            let has_work = !working.is_empty();
            let done = tokio::select! {
                biased;
                Some(done) = working.next(), if has_work => done,
                () = connection.ready(), if wants_frames => return Next::Frames,
                else => std::future::pending().await,
            };
            match done {
                Done::Answered(answer) => {
                    self.asks_presence &= !matches!(answer, Control::Present { .. });
                    return Next::Answer(answer);
                }
                Done::Followed(ask) => {
                    self.following -= 1;
                    if let Some(answer) = self.apply_now(ask) {
                        return Next::Answer(answer);
                    }
                }
            }
        }
    }

    /// Does what is asked for; the answer to it, unless it takes time or there is none.
    pub fn apply(&mut self, ask: Ask) -> Option<Control> {
        if let Err(bad) = self.check(&ask) {
            return Some(BadAsk { id: ask.id, ..bad }.into());
        }
        let own = |topic| self.broadcast.mesh().view().is_own(topic);
        let may = |topic| self.who.may_subscribe(topic).is_ok();
        let mut topics = ask.subscribe.iter().map(|(topic, _)| topic);
        // What it may not have is not fetched for it. Whatever comes behind what takes time waits for its turn.
        let is_ready = topics.clone().all(own) || !topics.all(may);
        if is_ready && self.following == 0 {
            return self.apply_now(ask);
        }
        self.following += 1;
        let broadcast = self.broadcast.clone();
        self.working.push_back(Box::pin(async move {
            if !is_ready {
                let topics = ask.subscribe.iter().map(|(topic, _)| topic);
                follow(&broadcast, topics).await;
            }
            Done::Followed(ask)
        }));
        None
    }

    /// What is bounded before anything is done for it.
    fn check(&self, ask: &Ask) -> Result<(), BadAsk> {
        let limits = self.broadcast.topics().limits();
        let topics = ask.subscribe.len().max(ask.unsubscribe.len());
        let patterns = ask
            .subscribe_patterns
            .len()
            .max(ask.unsubscribe_patterns.len());
        for (field, value, max) in [
            ("topics", topics, limits.connection_topics_max),
            ("patterns", patterns, limits.connection_patterns_max),
        ] {
            if value > max {
                return Err(BadAsk::new(
                    field,
                    format!("{value} at once, at most {max}"),
                ));
            }
        }
        Ok(())
    }

    fn apply_now(&mut self, ask: Ask) -> Option<Control> {
        self.look_again();
        let id = ask.id;
        match self.try_apply(ask) {
            Ok(answer) => answer,
            Err(bad) => Some(BadAsk { id, ..bad }.into()),
        }
    }

    fn try_apply(&mut self, ask: Ask) -> Result<Option<Control>, BadAsk> {
        let Ask { id, .. } = ask;
        let wants = !ask.subscribe.is_empty() || !ask.subscribe_patterns.is_empty();
        let leaves = !ask.unsubscribe.is_empty() || !ask.unsubscribe_patterns.is_empty();
        for topic in &ask.unsubscribe {
            self.connection.unsubscribe(topic);
        }
        for pattern in &ask.unsubscribe_patterns {
            self.connection.unsubscribe_pattern(pattern);
        }
        let mut topics = Vec::new();
        for (topic, since) in ask.subscribe {
            let position = self.subscribe(&topic, since);
            let position = position.map_err(|turned| bad("topic", turned))?;
            topics.push((topic, position));
        }
        for pattern in &ask.subscribe_patterns {
            let done = self.subscribe_pattern(pattern);
            done.map_err(|turned| bad("pattern", turned))?;
        }
        if let Some((draft, ack)) = ask.publish {
            self.publish(id, draft, ack)?;
        }
        if let Some(topic) = ask.presence {
            if self.asks_presence {
                let what = "one at a time: the answer before this is to come";
                return Err(BadAsk::new("presence", what));
            }
            let may = self.who.may_subscribe(&topic);
            may.map_err(|denied| BadAsk::new("topic", denied))?;
            let broadcast = self.broadcast.clone();
            let present = async move {
                let ((members, count), _) = broadcast.everybody(&topic).await;
                Done::Answered(Control::Present {
                    id,
                    topic,
                    members: members.into_iter().collect(),
                    count: count as u64,
                })
            };
            self.asks_presence = true;
            self.working.push_back(Box::pin(present));
        }
        Ok(match (wants, leaves) {
            (true, _) => Some(Control::Subscribed { id, topics }),
            (false, true) => Some(Control::Unsubscribed { id }),
            (false, false) => None,
        })
    }

    fn subscribe(&self, topic: &TopicName, since: Since) -> Result<Position, Turned> {
        self.who.may_subscribe(topic)?;
        let now = self.broadcast.now();
        Ok(self.connection.subscribe(topic, since, now)?)
    }

    fn subscribe_pattern(&self, pattern: &Pattern) -> Result<(), Turned> {
        self.who.may_subscribe_pattern(pattern)?;
        Ok(self.connection.subscribe_pattern(pattern)?)
    }

    fn publish(&mut self, id: u64, draft: Draft, ack: Ack) -> Result<(), BadAsk> {
        let may = self.who.may_publish(&draft.topic);
        may.map_err(|denied| BadAsk::new("topic", denied))?;
        let may = self.broadcast.may_publish_now(Some(&self.who), self.from);
        may.map_err(|refused| BadAsk::new("publish", refused))?;
        let broadcast = self.broadcast.clone();
        self.working.push_back(Box::pin(async move {
            let topic = draft.topic.clone();
            Done::Answered(match broadcast.deliver(draft, ack).await {
                Ok(receipt) => Control::Published {
                    id,
                    topic,
                    position: receipt.published.position,
                    duplicate: receipt.published.is_duplicate,
                    replicated: receipt.is_replicated,
                },
                Err(error) => BadAsk::failed(id, &error).into(),
            })
        }));
        Ok(())
    }

    /// Ends a subscriber that may not have any more what it has: rights change.
    pub fn look_again(&mut self) {
        let rights = self.broadcast.rights();
        if Arc::ptr_eq(&rights, &self.rights) {
            return;
        }
        let still = rights.again(self.face, &self.who).and_then(|who| {
            let (topics, patterns) = self.connection.subscriptions();
            topics
                .iter()
                .try_for_each(|topic| who.may_subscribe(topic))?;
            patterns
                .iter()
                .try_for_each(|pattern| who.may_subscribe_pattern(pattern))?;
            Ok::<Who, Denied>(who)
        });
        self.rights = rights;
        match still {
            Ok(who) => self.who = who,
            Err(_) => self.connection.cut(CutReason::Unauthorized),
        }
    }
}

/// Waits until this node has what the owners of topics have, as long as one may wait for that.
async fn follow(broadcast: &Broadcast, topics: impl Iterator<Item = &TopicName>) {
    let mesh = broadcast.mesh();
    join_all(topics.map(|topic| mesh.follow(topic))).await;
}

fn bad(field: &str, turned: Turned) -> BadAsk {
    match turned {
        Turned::Denied(denied) => BadAsk::new(denied.field(), denied),
        other => BadAsk::new(field, other),
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection.id())
            .field("who", &self.who.name)
            .finish_non_exhaustive()
    }
}
