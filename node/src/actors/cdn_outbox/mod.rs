//! Tells CDNs of purges until they have them.
//!
//! Owns      what each CDN has not taken yet, and how fast each may be asked.
//! Receives  [`Enqueue`] from whoever purges; [`InForce`] when the mesh has a purge in force; [`Answered`] from
//!           requests; its own tick, which reads the configuration.
//! Sends     requests to CDNs; events; publishes [`CdnStanding`]s.
//! Bound     1,024 messages; when full an [`Enqueue`] is refused and whoever purges is told; the others try again.
//! Restarts  from the journal; without one, with nothing.
//!
//! Inside out: a CDN is told after this mesh has the purge in force, so that what it fetches then is new. A node that
//! does not hear of a purge for two seconds keeps no CDN from hearing of it.

mod front;
mod handle;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, WrapFuture as _,
};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use weir_core::error::chain;
use weir_core::purge::Hardness;
use weir_core::surrogate::{CdnPurge, CdnRequest, CdnScope, Told};

use self::front::Front;
pub use self::handle::{CdnOutboxHandle, NotTaken};
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::config_agent::InForce as Configured;
use crate::cdn::{Answer, Journal, Record, SendError, Sender};
use crate::config::CdnSettings;
use crate::events::{Events, Kind};
use crate::link::{Carried, Link, Permits};
use crate::snapshot::Snapshot;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 1_024;
const TICK: Duration = Duration::from_millis(100);
/// Purges that come together.
pub const TOGETHER_MAX: usize = 1_024;
/// How long a node that does not hear of a purge keeps CDNs from hearing of it.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

/// Purges that this node has in force.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Enqueue {
    pub(crate) purges: Vec<CdnPurge>,
    /// Of what; empty: of every namespace.
    pub(crate) namespace: String,
    /// The number of the last of them.
    pub(crate) seq: u64,
    /// Which CDNs will be told, once that is certain.
    pub(crate) answer: oneshot::Sender<Result<Vec<String>, String>>,
}

/// The mesh has these in force, or was waited for long enough.
#[derive(Message)]
#[rtype(result = "()")]
pub struct InForce {
    pub(crate) numbers: Vec<(String, u64)>,
}

/// What became of a request.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answered {
    pub(crate) cdn: String,
    pub(crate) numbers: Vec<u64>,
    pub(crate) answer: Result<Answer, SendError>,
}

/// How far a CDN is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CdnStanding {
    /// Which.
    pub name: String,
    /// Purges that it has not taken yet.
    pub waiting: u64,
    /// Purges that it has taken since the start.
    pub told: u64,
    /// Purges that it will never take.
    pub refused: u64,
    /// Requests that failed.
    pub failures: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_s: u64,
    /// Why the last request failed; empty after one that did not.
    pub problem: String,
}

/// The ways to the actor.
#[derive(Clone)]
pub struct Links {
    pub(crate) enqueue: Link<Enqueue>,
    pub(crate) in_force: Link<InForce>,
    pub(crate) answered: Link<Answered>,
}

impl Links {
    fn new() -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            enqueue: Link::new(&permits),
            in_force: Link::new(&permits),
            answered: Link::new(&permits),
        }
    }

    pub(crate) fn point_at(&self, life: &actix::Addr<CdnOutbox>) {
        self.enqueue.point_at(life);
        self.in_force.point_at(life);
        self.answered.point_at(life);
    }
}

/// Where purges are written down.
#[derive(Clone)]
pub enum Kept {
    /// Nowhere: the node has no folder.
    Nowhere,
    /// Nowhere, though the node has a folder: why.
    Broken(String),
    /// In a journal.
    In(Arc<Mutex<Journal>>),
}

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// The configuration in force.
    pub configured: Snapshot<Configured>,
    /// Who knows what the mesh has in force.
    pub tier: CacheTierHandle,
    /// What outlives the node.
    pub journal: Kept,
    /// Who asks CDNs.
    pub sender: Sender,
    /// What happens.
    pub events: Events,
    /// Where the actor publishes.
    pub table: Snapshot<Vec<CdnStanding>>,
    /// The actor's own ways.
    pub links: Links,
    /// Seeds the waits between tries.
    pub seed: u64,
}

/// The actor.
pub struct CdnOutbox {
    parts: Parts,
    fronts: BTreeMap<String, Front>,
    /// CDNs that left the configuration before they had everything.
    absent: BTreeMap<String, Front>,
    /// What the journal has for CDNs that are not configured.
    unclaimed: BTreeMap<String, Vec<(u64, CdnPurge)>>,
    /// The number of the last purge.
    last: u64,
    /// Purges are lost that nobody can name.
    has_lost: bool,
    /// Of the configuration that the fronts are of.
    revision: Option<u64>,
    begun: Instant,
}

impl CdnOutbox {
    /// A life that knows what is in the journal once it has started.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            fronts: BTreeMap::new(),
            absent: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            last: 0,
            has_lost: false,
            revision: None,
            begun: Instant::now(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.configure();
        self.go();
        ctx.run_later(TICK, Self::tick);
    }

    /// Takes the CDNs of the newest configuration.
    fn configure(&mut self) {
        let configured = self.parts.configured.load();
        if self.revision.replace(configured.revision) == Some(configured.revision) {
            return;
        }
        let now_ms = self.now_ms();
        let mut before = std::mem::take(&mut self.fronts);
        for settings in &configured.config.cdns {
            let name = &settings.name;
            let known = before.remove(name).or_else(|| self.absent.remove(name));
            let front = match known {
                Some(front) => front.configured(settings, now_ms),
                None => self.new_front(settings, now_ms),
            };
            self.fronts.insert(name.clone(), front);
        }
        for (name, front) in before.into_iter().filter(|(_, front)| front.is_busy()) {
            tracing::warn!(
                cdn = name,
                "a CDN left the configuration before it had all purges"
            );
            self.absent.insert(name, front);
        }
    }

    fn new_front(&mut self, settings: &CdnSettings, now_ms: u64) -> Front {
        let mut front = Front::new(settings, now_ms, self.parts.seed);
        for (number, purge) in self.unclaimed.remove(&settings.name).into_iter().flatten() {
            front.restore(number, purge, now_ms);
        }
        if self.has_lost {
            let everything = CdnPurge {
                scope: CdnScope::All,
                hardness: Hardness::Hard,
            };
            self.last += 1;
            front.restore(self.last, everything, now_ms);
        }
        front
    }

    /// Begins with what an earlier life or process has written down.
    fn begin(&mut self, (waiting, lost_lines): (Vec<(String, u64, CdnPurge)>, usize)) {
        if lost_lines > 0 {
            tracing::error!(
                lost_lines,
                "purges that CDNs were to be told are damaged: everything is purged there"
            );
        }
        self.has_lost = lost_lines > 0;
        for (name, number, purge) in waiting {
            self.last = self.last.max(number);
            self.unclaimed
                .entry(name)
                .or_default()
                .push((number, purge));
        }
        self.configure();
    }

    /// Sends what can be sent.
    fn go(&mut self) {
        let now_ms = self.now_ms();
        let mut records = Vec::new();
        for (name, front) in &mut self.fronts {
            while let Some((request, numbers)) = front.next(now_ms) {
                let sending = sending(&self.parts, front, request, name.clone(), numbers);
                tokio::task::spawn_local(sending);
            }
            for (number, why) in front.refused() {
                tracing::warn!(cdn = name, %why, "a purge that a CDN has no request for");
                let told = [("cdn", name.clone()), ("why", why.to_string())];
                self.parts.events.record(Kind::CdnRefused, name, told);
                records.push(Record::Done(name.clone(), vec![number]));
            }
        }
        self.note(records);
        self.publish();
    }

    /// Writes what is done. Should that fail, a purge is sent once more after the next start.
    fn note(&self, records: Vec<Record>) {
        if !records.is_empty() {
            let writing = write(self.parts.journal.clone(), records);
            tokio::task::spawn_local(async move {
                if let Err(why) = writing.await {
                    tracing::warn!(why, "cannot write down which purges CDNs have");
                }
            });
        }
    }

    fn publish(&self) {
        let now_ms = self.now_ms();
        let fronts = self.fronts.values();
        let table: Vec<CdnStanding> = fronts.map(|front| front.standing(now_ms)).collect();
        if *self.parts.table.load() != table {
            self.parts.table.publish(table);
        }
    }
}

async fn write(kept: Kept, records: Vec<Record>) -> Result<(), String> {
    let journal = match kept {
        Kept::Nowhere => return Ok(()),
        Kept::Broken(why) => return Err(why),
        Kept::In(journal) => journal,
    };
    let mut journal = journal.lock_owned().await;
    let writing = tokio::task::spawn_blocking(move || journal.write(records));
    match writing.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(chain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What is written down, and how many lines are lost.
async fn read(kept: Kept) -> (Vec<(String, u64, CdnPurge)>, usize) {
    let Kept::In(journal) = kept else {
        return Default::default();
    };
    let journal = journal.lock().await;
    let waiting = journal.waiting();
    let waiting = waiting.map(|(name, number, purge)| (name.to_owned(), number, purge.clone()));
    (waiting.collect(), journal.lost_lines())
}

fn sending(
    parts: &Parts,
    front: &Front,
    request: CdnRequest,
    cdn: String,
    numbers: Vec<u64>,
) -> impl Future<Output = ()> + 'static {
    let (sender, answered) = (parts.sender.clone(), parts.links.answered.clone());
    let settings = front.settings();
    async move {
        let answer = sender.send(&settings, &request).await;
        let message = Answered {
            cdn,
            numbers,
            answer,
        };
        hand_over(&answered, message).await;
    }
}

/// Waits for a place: what is told here must not be lost.
async fn hand_over<M>(link: &Link<M>, mut message: M)
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    while let Err(back) = link.offer_back(message) {
        message = back;
        tokio::time::sleep(TICK).await;
    }
}

impl Actor for CdnOutbox {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let reading = read(self.parts.journal.clone()).into_actor(self);
        ctx.wait(reading.map(|read, actor, ctx| {
            actor.begin(read);
            actor.tick(ctx);
        }));
    }
}

impl Handler<Carried<Enqueue>> for CdnOutbox {
    type Result = ();

    fn handle(&mut self, carried: Carried<Enqueue>, _: &mut Context<Self>) {
        self.configure();
        let now_ms = self.now_ms();
        let Enqueue {
            purges,
            namespace,
            seq,
            answer,
        } = carried.message;
        let (mut records, mut numbers, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let fronts = self.fronts.iter_mut();
        for (name, front) in fronts.filter(|(_, front)| front.settings().serves(&namespace)) {
            names.push(name.clone());
            for purge in &purges {
                self.last += 1;
                let added = front.add(purge.clone(), self.last, now_ms);
                numbers.push((name.clone(), added.number));
                if !added.replaced.is_empty() {
                    tracing::warn!(
                        cdn = name,
                        "too many purges wait for a CDN: everything is purged there instead"
                    );
                    records.push(Record::Done(name.clone(), added.replaced));
                }
                records.push(Record::Added(name.clone(), added.number, added.purge));
            }
        }
        let (journal, tier) = (self.parts.journal.clone(), self.parts.tier.clone());
        let in_force = self.parts.links.in_force.clone();
        tokio::task::spawn_local(async move {
            let written = write(journal, records).await;
            // Whoever asked may have gone.
            let _ = answer.send(written.map(|()| names));
            tier.in_force_everywhere(seq, IN_FORCE_WITHIN).await;
            hand_over(&in_force, InForce { numbers }).await;
        });
        self.publish();
    }
}

impl Handler<Carried<InForce>> for CdnOutbox {
    type Result = ();

    fn handle(&mut self, in_force: Carried<InForce>, _: &mut Context<Self>) {
        for (name, number) in in_force.message.numbers {
            if let Some(front) = self.fronts.get_mut(&name) {
                front.ready(number);
            }
        }
        self.go();
    }
}

impl Handler<Carried<Answered>> for CdnOutbox {
    type Result = ();

    fn handle(&mut self, answered: Carried<Answered>, _: &mut Context<Self>) {
        let Answered {
            cdn,
            numbers,
            answer,
        } = answered.message;
        let now_ms = self.now_ms();
        let known = self
            .fronts
            .get_mut(&cdn)
            .or_else(|| self.absent.get_mut(&cdn));
        let Some(front) = known else {
            return;
        };
        let failed_before = front.is_failing();
        let (told, done) = front.answered(&numbers, &answer, now_ms);
        let problem = front.problem().to_owned();
        let attributes = || [("cdn", cdn.clone()), ("why", problem.clone())];
        match told {
            Told::Again(_) | Told::Apart if !failed_before => {
                tracing::warn!(
                    cdn,
                    why = problem,
                    "a CDN does not take purges; they are sent again"
                );
                self.parts.events.record(Kind::CdnAway, &cdn, attributes());
            }
            Told::Never => {
                tracing::error!(
                    cdn,
                    why = problem,
                    purges = numbers.len(),
                    "a CDN refuses purges"
                );
                self.parts
                    .events
                    .record(Kind::CdnRefused, &cdn, attributes());
            }
            Told::Done if failed_before => {
                self.parts
                    .events
                    .record(Kind::CdnBack, &cdn, [("cdn", cdn.clone())]);
            }
            Told::Again(_) | Told::Apart | Told::Done => {}
        }
        if !done.is_empty() {
            self.note(vec![Record::Done(cdn, done)]);
        }
        self.go();
    }
}
