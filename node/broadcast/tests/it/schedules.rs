//! Publishing, subscribing, slowness, resumption, eviction, failures of every bound, in random orders: offsets rise
//! strictly for everybody, and whatever is left out was announced. [`Client`] checks what it is told; here the rest
//! is checked.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_broadcast::{Draft, Remote, Shard, Since, Topics};
use weir_core::broadcast::{
    BatchLimits, BatchMode, Class, CutReason, Epoch, HistoryLimits, Limits, OutboxLimits, Position,
};
use weir_core::cache::UnixMs;

use crate::client::{Client, node, topic, work};

const SCHEDULES: u64 = if cfg!(debug_assertions) {
    1_000
} else {
    100_000
};
const STEPS: usize = 150;
const NAMES: [&str; 4] = ["a.b", "a.c", "b.c.d", "e"];
const PATTERNS: [&str; 3] = ["a.*", "*.c.>", ">"];
/// What another node numbers.
const REMOTE: &str = "r.remote";

struct Published {
    class: Class,
    key: String,
    data: Bytes,
}

struct Schedule {
    random: fastrand::Rng,
    limits: Limits,
    topics: Arc<Topics>,
    shards: Vec<Rc<Shard>>,
    clients: Vec<Option<Client>>,
    published: BTreeMap<(String, u64, u64), Published>,
    remote: Position,
    numbered: u64,
    now: u64,
}

fn limits(random: &mut fastrand::Rng) -> Limits {
    Limits {
        batch: BatchLimits {
            messages_max: random.usize(1..11),
            delay_max: Duration::from_millis(random.u64(1..101)),
            bytes_max: [500, 5_000, 64 << 10][random.usize(..3)],
            mode: [BatchMode::Adaptive, BatchMode::Fixed][random.usize(..2)],
        },
        history: HistoryLimits {
            messages_max: [0, 3, 20, 100][random.usize(..4)],
            keys_max: [0, 2, 1_024][random.usize(..3)],
            age_max: Duration::from_secs([1, 300][random.usize(..2)]),
            bytes_max: [3_000, 8 << 20][random.usize(..2)],
        },
        outbox: OutboxLimits {
            bytes_max: [2_000, 20_000, 1 << 20][random.usize(..3)],
            critical_bytes_max: [1_000, 64 << 10][random.usize(..2)],
            age_max: Duration::from_secs(10),
        },
        retained_bytes_max: [20_000, 256 << 20][random.usize(..2)],
        inbox_messages_max: [2, 16_384][random.usize(..2)],
        ..Limits::default()
    }
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let limits = limits(&mut random);
        let (topics, shards) = node(limits, 2);
        Self {
            random,
            limits,
            topics,
            clients: (0..5).map(|_| None).collect(),
            shards,
            published: BTreeMap::new(),
            remote: Position {
                epoch: Epoch(1),
                offset: 0,
            },
            numbered: 0,
            now: 1_000,
        }
    }

    fn step(&mut self) {
        match self.random.u8(..100) {
            0..30 => self.publish(),
            30..36 => self.publish_remotely(),
            36..58 => work_some(&self.shards, &mut self.random, self.now),
            58..63 => self.now += [1, 5, 50, 1_000, 11_000][self.random.usize(..5)],
            63..79 => self.take(),
            79..87 => self.subscribe(),
            87..90 => self.unsubscribe(),
            90..95 => self.come_back(),
            95..97 => self.topics.sweep(UnixMs(self.now)),
            97 => {
                let name = NAMES[self.random.usize(..NAMES.len())];
                self.topics.restart(&topic(name));
            }
            98 => {
                self.limits = limits(&mut self.random);
                self.topics.configure(self.limits).unwrap();
            }
            _ => drop(self.clients[self.random.usize(..5)].take()),
        }
    }

    fn draft(&mut self, name: &str) -> Draft {
        let class = match self.random.u8(..10) {
            0 => Class::Critical,
            1..3 => Class::Ephemeral,
            3..6 => Class::Latest,
            _ => Class::Stream,
        };
        let key = if class == Class::Latest {
            ["x", "y", ""][self.random.usize(..3)]
        } else {
            ""
        };
        self.numbered += 1;
        let mut data = self.numbered.to_string();
        data.extend(std::iter::repeat_n(
            '.',
            [0, 100, 900][self.random.usize(..3)],
        ));
        Draft {
            class,
            key: key.into(),
            ..Draft::new(topic(name), data)
        }
    }

    fn note(&mut self, draft: &Draft, position: Position) {
        let of = (draft.topic.to_string(), position.epoch.0, position.offset);
        let published = Published {
            class: draft.class,
            key: draft.key.to_string(),
            data: draft.data.clone(),
        };
        if position.offset > 0 {
            assert!(
                self.published.insert(of, published).is_none(),
                "an offset is given once"
            );
        }
    }

    fn publish(&mut self) {
        let name = NAMES[self.random.usize(..NAMES.len())];
        for _ in 0..self.random.usize(1..8) {
            let draft = self.draft(name);
            let published = self
                .topics
                .publish(draft.clone(), UnixMs(self.now))
                .unwrap();
            self.note(&draft, published.position);
        }
    }

    /// As from a link, which may lose, repeat and begin anew.
    fn publish_remotely(&mut self) {
        let draft = self.draft(REMOTE);
        if self.random.u8(..12) == 0 {
            self.remote = Position {
                epoch: Epoch(self.remote.epoch.0 + 1),
                offset: 0,
            };
        }
        let lost = self.random.u8(..8) == 0;
        let numbered = draft.class.is_numbered();
        self.remote.offset += u64::from(numbered);
        let remote = Remote {
            position: self.remote,
            after: self.remote.offset.saturating_sub(1),
            published_at: UnixMs(self.now),
            draft,
        };
        if numbered {
            self.note(&remote.draft.clone(), remote.position);
        }
        if !lost {
            let is_new = self
                .topics
                .accept(remote.clone(), UnixMs(self.now))
                .unwrap();
            assert!(is_new);
            assert!(
                !numbered || !self.topics.accept(remote, UnixMs(self.now)).unwrap(),
                "taken twice"
            );
        }
    }

    fn subscribe(&mut self) {
        let at = self.random.usize(..5);
        let shard = &self.shards[at % 2];
        let client = self.clients[at].get_or_insert_with(|| Client::new(shard));
        if self.random.u8(..4) == 0 {
            client.subscribe_pattern(PATTERNS[self.random.usize(..3)]);
            return;
        }
        let names = [NAMES[0], NAMES[1], NAMES[2], NAMES[3], REMOTE];
        let name = names[self.random.usize(..5)];
        if !client.topics().contains(&name.to_owned()) {
            client.subscribe(name, Since::Now, self.now);
        }
    }

    fn unsubscribe(&mut self) {
        if let Some(client) = &mut self.clients[self.random.usize(..5)] {
            let name = NAMES[self.random.usize(..NAMES.len())];
            if let Some(position) = client.position(name).filter(|_| !client.has_patterns) {
                client.connection.unsubscribe(&topic(name));
                client.subscribe(name, Since::Position(position), self.now);
                client.expect_answer(name);
            }
        }
    }

    /// The connection breaks, and another one goes on where it was.
    fn come_back(&mut self) {
        let at = self.random.usize(..5);
        let Some(before) = self.clients[at].take() else {
            return;
        };
        let positions: Vec<_> = before
            .topics()
            .into_iter()
            .map(|name| (before.position(&name).unwrap(), name))
            .collect();
        self.check(&before);
        drop(before);
        let mut client = Client::new(&self.shards[at % 2]);
        for (position, name) in positions {
            client.subscribe(&name, Since::Position(position), self.now);
        }
        self.clients[at] = Some(client);
    }

    fn take(&mut self) {
        let at = self.random.usize(..5);
        let Some(client) = &mut self.clients[at] else {
            return;
        };
        match client.take(self.now) {
            Ok(bytes) => {
                let connections = self.shards[at % 2].connections(UnixMs(self.now));
                let info = connections
                    .iter()
                    .find(|info| info.id == client.connection.id())
                    .unwrap();
                assert!(info.waiting_bytes >= bytes, "what is written is charged");
            }
            Err(reason) => {
                assert_eq!(reason, CutReason::Slow);
                self.clients[at] = None;
            }
        }
    }

    /// What came is what was published, and what is missing may be missing.
    fn check(&self, client: &Client) {
        for got in client.got.iter().filter(|got| got.offset > 0) {
            let published = &self.published[&(got.topic.clone(), got.epoch, got.offset)];
            assert_eq!(published.data, got.data);
        }
        for missing in &client.missing {
            for offset in missing.from..=missing.to {
                let Some(gone) =
                    self.published
                        .get(&(missing.topic.clone(), missing.epoch, offset))
                else {
                    continue;
                };
                if missing.conflated {
                    let newer = self
                        .published
                        .range((missing.topic.clone(), missing.epoch, offset + 1)..);
                    let newer = newer.take_while(|((topic, epoch, _), _)| {
                        (topic, epoch) == (&missing.topic, &missing.epoch)
                    });
                    let mut newer = newer.map(|(_, newer)| newer);
                    assert_eq!(gone.class, Class::Latest);
                    assert!(
                        newer.any(|newer| newer.class == Class::Latest && newer.key == gone.key)
                    );
                } else if gone.class == Class::Critical {
                    // A link may lose it, and who was away is told; who is there is cut.
                    assert!(missing.resuming || missing.topic == REMOTE, "{missing:?}");
                }
            }
        }
    }

    fn check_bounds(&self) {
        let kept: usize = self.topics.stats().iter().map(|stat| stat.kept_bytes).sum();
        assert!(self.topics.account().bytes() >= kept as u64);
    }

    /// Everybody who is still there gets everything.
    fn end(mut self) {
        for client in self.clients.iter_mut().flatten() {
            let _ = client.drain(self.now);
        }
        // What came last waits for its batch, and who is ahead of a copy waits for that.
        for _ in 0..3 {
            self.now += 1_000;
            for shard in &self.shards {
                work(shard, self.now);
            }
        }
        for client in self.clients.iter_mut().flatten() {
            if client.drain(self.now).is_err() {
                continue;
            }
            for name in client.topics() {
                let newest = self.topics.position(&topic(&name));
                // A topic that was forgotten and is wanted again has nothing to tell those whose patterns take it.
                let is_anew =
                    client.has_patterns && newest.is_some_and(|newest| newest.offset == 0);
                let at = client.position(&name);
                assert!(
                    newest.is_none() || is_anew || at == newest,
                    "{name} {at:?} {newest:?}"
                );
            }
        }
        for client in self.clients.iter().flatten() {
            self.check(client);
        }
        self.clients.clear();
        for after in [400_000, 500_000] {
            self.topics.sweep(UnixMs(self.now + after));
            for shard in &self.shards {
                work(shard, self.now + after);
            }
        }
        drop(self.shards);
        assert_eq!(
            (self.topics.stats().len(), self.topics.account().bytes()),
            (0, 0),
            "nothing is left behind"
        );
    }
}

fn work_some(shards: &[Rc<Shard>], random: &mut fastrand::Rng, now: u64) {
    shards[random.usize(..2)].work(UnixMs(now));
}

#[test]
fn offsets_rise_for_everybody_and_every_skip_is_announced() {
    for seed in 0..SCHEDULES {
        let run = std::panic::catch_unwind(|| {
            let mut schedule = Schedule::new(seed);
            for _ in 0..STEPS {
                schedule.step();
                schedule.check_bounds();
            }
            schedule.end();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
