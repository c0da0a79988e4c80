//! A subscriber that checks all that it is told.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use weir_broadcast::{Connection, Draft, Encoding, Published, Shard, Since, Topics, Writing};
use weir_core::broadcast::{Class, CutReason, Limits, Pattern, Position, TopicName};
use weir_core::cache::UnixMs;
use weir_proto::convert::decode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What;

/// A node with so many shards.
pub(crate) fn node(limits: Limits, shards: usize) -> (Arc<Topics>, Vec<Rc<Shard>>) {
    let topics = Topics::new(limits, shards, 7).unwrap();
    let shards = (0..shards)
        .map(|n| Shard::new(&topics, n).unwrap())
        .collect();
    (topics, shards)
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::any(name).unwrap()
}

pub(crate) fn draft(name: &str, class: Class, key: &str, bytes: usize) -> Draft {
    Draft {
        class,
        key: key.into(),
        ..Draft::new(topic(name), Bytes::from(vec![7; bytes]))
    }
}

pub(crate) fn publish(
    topics: &Topics,
    name: &str,
    class: Class,
    bytes: usize,
    now: u64,
) -> Published {
    topics
        .publish(draft(name, class, "", bytes), UnixMs(now))
        .unwrap()
}

/// Works until nothing is to be done.
pub(crate) fn work(shard: &Rc<Shard>, now: u64) {
    while shard.work(UnixMs(now)).more {}
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) data: Bytes,
}

/// What was announced as missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) topic: String,
    pub(crate) epoch: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Newer messages with the same key replaced it.
    pub(crate) conflated: bool,
    /// It is the answer to a position that the client came back with.
    pub(crate) resuming: bool,
}

#[derive(Clone, Copy, Debug)]
struct At {
    position: Position,
    resuming: bool,
}

/// A subscriber.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    writing: Writing,
    at: BTreeMap<String, At>,
    pub(crate) got: Vec<Got>,
    pub(crate) missing: Vec<Missing>,
    /// Whether all was there, each time that it was told.
    pub(crate) recovered: Vec<bool>,
    pub(crate) controls: Vec<What>,
    pub(crate) frames: usize,
    pub(crate) batches: Vec<pb::Batch>,
    pub(crate) has_patterns: bool,
}

impl Client {
    pub(crate) fn new(shard: &Rc<Shard>) -> Self {
        Self {
            connection: shard.connect("test", Encoding::Grpc),
            writing: Writing::new(),
            at: BTreeMap::new(),
            got: Vec::new(),
            missing: Vec::new(),
            recovered: Vec::new(),
            controls: Vec::new(),
            frames: 0,
            batches: Vec::new(),
            has_patterns: false,
        }
    }

    /// Subscribes; a topic that it had before is resumed from where it was with `Since::Position`.
    pub(crate) fn subscribe(&mut self, name: &str, since: Since, now: u64) {
        let position = self
            .connection
            .subscribe(&topic(name), since, UnixMs(now))
            .unwrap();
        let position = match since {
            Since::Position(position) => position,
            Since::Now if !self.has_patterns => position,
            // The first batch tells.
            Since::Now | Since::Start => return,
        };
        let resuming = matches!(since, Since::Position(_));
        self.at
            .entry(name.to_owned())
            .or_insert(At { position, resuming });
    }

    pub(crate) fn subscribe_pattern(&mut self, pattern: &str) {
        self.has_patterns = true;
        self.connection
            .subscribe_pattern(&Pattern::new(pattern).unwrap())
            .unwrap();
    }

    /// Goes on from where it was in a topic that a pattern takes.
    pub(crate) fn resume_matched(&mut self, name: &str, position: Position) {
        let at = At {
            position,
            resuming: true,
        };
        self.at.insert(name.to_owned(), at);
        let done = self
            .connection
            .resume_matched(&topic(name), position, UnixMs(0));
        done.unwrap();
    }

    /// The next thing of this topic is the answer to its position.
    pub(crate) fn expect_answer(&mut self, name: &str) {
        self.at.get_mut(name).unwrap().resuming = true;
    }

    pub(crate) fn position(&self, name: &str) -> Option<Position> {
        Some(self.at.get(name)?.position)
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        self.at.keys().cloned().collect()
    }

    /// Takes once; how many bytes.
    pub(crate) fn take(&mut self, now: u64) -> Result<usize, CutReason> {
        self.connection.take(&mut self.writing, || UnixMs(now))?;
        let bytes = self.writing.bytes();
        let (mut batches, mut payload) = (0, 0);
        while let Some(frame) = self.writing.pop() {
            self.frames += 1;
            payload = payload.max(frame.len());
            let what = pb::Delivery::decode(frame).unwrap().what.unwrap();
            batches += usize::from(matches!(what, What::Batch(_)));
            self.see(what);
        }
        assert!(batches <= 10, "{batches} batches in one write");
        assert!(bytes < (64 << 10) + payload, "{bytes} bytes in one write");
        Ok(bytes)
    }

    /// Takes until nothing is left.
    pub(crate) fn drain(&mut self, now: u64) -> Result<(), CutReason> {
        while self.take(now)? > 0 {}
        Ok(())
    }

    fn see(&mut self, what: What) {
        match what {
            What::Batch(batch) => self.see_batch(batch),
            What::Gap(gap) => {
                let before = Position {
                    epoch: weir_core::broadcast::Epoch(gap.epoch),
                    offset: gap.from - 1,
                };
                let unknown = At {
                    position: before,
                    resuming: false,
                };
                let at = self.at.entry(gap.topic.clone()).or_insert(unknown);
                assert_eq!(
                    (gap.epoch, gap.from),
                    (at.position.epoch.0, at.position.offset + 1)
                );
                assert!(gap.from <= gap.to);
                at.position.offset = gap.to;
                let resuming = std::mem::take(&mut at.resuming);
                self.missing.push(Missing {
                    topic: gap.topic,
                    epoch: gap.epoch,
                    from: gap.from,
                    to: gap.to,
                    conflated: false,
                    resuming,
                });
            }
            What::Recovered(recovered) => {
                let position = decode_position(recovered.position.unwrap());
                let before = self.at.get(&recovered.topic);
                if recovered.ok {
                    assert!(before.unwrap().resuming, "nobody asked");
                    assert_eq!(before.unwrap().position, position);
                } else {
                    assert!(before.is_none_or(|at| at.position != position));
                }
                let at = At {
                    position,
                    resuming: false,
                };
                self.at.insert(recovered.topic, at);
                self.recovered.push(recovered.ok);
            }
            other => self.controls.push(other),
        }
    }

    fn see_batch(&mut self, batch: pb::Batch) {
        let numbered: Vec<_> = batch
            .messages
            .iter()
            .map(|message| message.offset)
            .filter(|offset| *offset > 0)
            .collect();
        let after = Position {
            epoch: weir_core::broadcast::Epoch(batch.epoch),
            offset: batch.after,
        };
        // Of what is not numbered it says nothing.
        if let Some(last) = numbered.last() {
            let unknown = At {
                position: after,
                resuming: false,
            };
            let at = self.at.entry(batch.topic.clone()).or_insert(unknown);
            assert!(!at.resuming, "messages come before the answer");
            // A topic that was forgotten begins anew for whose patterns take it.
            if self.has_patterns && at.position.epoch != after.epoch && after.offset == 0 {
                at.position = after;
            }
            assert_eq!(
                at.position, after,
                "a skip that nobody announced in {}",
                batch.topic
            );
            assert!(
                numbered[0] > after.offset && numbered.windows(2).all(|pair| pair[0] < pair[1])
            );
            assert_eq!(numbered.len() as u64 + batch.conflated, last - after.offset);
            at.position.offset = *last;
        }
        let mut next = after.offset + 1;
        for offset in numbered {
            if offset > next {
                self.missing.push(Missing {
                    topic: batch.topic.clone(),
                    epoch: batch.epoch,
                    from: next,
                    to: offset - 1,
                    conflated: true,
                    resuming: false,
                });
            }
            next = offset + 1;
        }
        for message in &batch.messages {
            self.got.push(Got {
                topic: batch.topic.clone(),
                epoch: batch.epoch,
                offset: message.offset,
                data: message.data.clone(),
            });
        }
        self.batches.push(batch);
    }

    pub(crate) fn offsets(&self, name: &str) -> Vec<u64> {
        let of_topic = self.got.iter().filter(|got| got.topic == name);
        of_topic.map(|got| got.offset).collect()
    }
}
