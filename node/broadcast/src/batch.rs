//! Messages of one topic that go together, in each form once.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use weir_core::broadcast::{Class, Facts as _, Kind, Page, Position, Ready, TopicName};

use crate::account::Account;
use crate::encoding::{self, Encoding, Opcode};
use crate::message::Message;

/// Messages of one topic and one epoch, in the order of their offsets.
#[derive(Debug)]
pub struct Batch {
    topic: TopicName,
    messages: Vec<Arc<Message>>,
    after: u64,
    /// Epoch, and the last offset.
    position: Position,
    conflated: u64,
    kind: Kind,
    ephemeral: u64,
    json: OnceCell<Framed>,
    proto: OnceCell<Framed>,
    sse: OnceCell<Bytes>,
    /// Made only where somebody has agreed on it.
    deflated: OnceCell<Box<Deflated>>,
    account: Account,
}

/// WebSocket frames that are compressed, unless that is no shorter.
#[derive(Debug, Default)]
struct Deflated {
    json: OnceCell<Option<Bytes>>,
    proto: OnceCell<Option<Bytes>>,
}

/// A WebSocket frame, and how much of it is its header.
#[derive(Debug)]
struct Framed {
    frame: Bytes,
    header_bytes: usize,
}

impl Framed {
    fn payload(&self) -> Bytes {
        self.frame.slice(self.header_bytes..)
    }
}

impl Batch {
    pub(crate) fn of_ready(
        topic: &TopicName,
        ready: Ready<Arc<Message>>,
        account: &Account,
    ) -> Self {
        let position = Position {
            epoch: ready.epoch,
            offset: ready.last,
        };
        let range = (ready.after, ready.conflated);
        Self::new(topic, ready.messages, range, position, account)
    }

    /// What was read from history.
    pub(crate) fn of_page(
        topic: &TopicName,
        page: Page<Arc<Message>>,
        epoch: weir_core::broadcast::Epoch,
        account: &Account,
    ) -> Self {
        let position = Position {
            epoch,
            offset: page.last,
        };
        Self::new(
            topic,
            page.messages,
            (page.after, page.conflated),
            position,
            account,
        )
    }

    fn new(
        topic: &TopicName,
        messages: Vec<Arc<Message>>,
        (after, conflated): (u64, u64),
        position: Position,
        account: &Account,
    ) -> Self {
        let count = |class: Class| {
            messages
                .iter()
                .filter(|message| message.class() == class)
                .count()
        };
        let ephemeral = count(Class::Ephemeral);
        let kind = if count(Class::Critical) > 0 {
            Kind::Critical
        } else if ephemeral == messages.len() {
            Kind::Ephemeral
        } else {
            Kind::Numbered
        };
        Self {
            topic: topic.clone(),
            messages,
            after,
            position,
            conflated,
            kind,
            ephemeral: ephemeral as u64,
            json: OnceCell::new(),
            proto: OnceCell::new(),
            sse: OnceCell::new(),
            deflated: OnceCell::new(),
            account: account.clone(),
        }
    }

    /// Of which topic.
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The messages.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The last offset before them.
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// The topic's life and the last offset in them.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Offsets that newer messages have replaced.
    pub const fn conflated(&self) -> u64 {
        self.conflated
    }

    /// How many of them are not numbered.
    pub const fn ephemeral(&self) -> u64 {
        self.ephemeral
    }

    /// What is to happen with it when there is no room.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What is in it for somebody who has everything up to `offset`.
    pub(crate) fn since(&self, offset: u64) -> Self {
        let is_new = |message: &&Arc<Message>| {
            let at = message.position().offset;
            at == 0 || at > offset
        };
        let messages: Vec<_> = self.messages.iter().filter(is_new).cloned().collect();
        let after = offset.max(self.after);
        let last = self.position.offset.max(after);
        let numbered = messages
            .iter()
            .filter(|message| message.class().is_numbered())
            .count();
        let conflated = (last - after).saturating_sub(numbered as u64);
        let position = Position {
            offset: last,
            ..self.position
        };
        Self::new(
            &self.topic,
            messages,
            (after, conflated),
            position,
            &self.account,
        )
    }

    /// The frame in a form; made once.
    pub fn frame(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::WebSocketJson => self.json().frame.clone(),
            Encoding::Json => self.json().payload(),
            Encoding::WebSocketProto => self.proto().frame.clone(),
            Encoding::Grpc => self.proto().payload(),
            Encoding::Sse => self.sse().clone(),
            Encoding::WebSocketJsonDeflate => self.json().frame.clone(),
            Encoding::WebSocketProtoDeflate => self.proto().frame.clone(),
        }
    }

    /// The same; what is compressed is so if it has this many bytes at least, and nothing is if that is 0.
    pub fn frame_for(&self, encoding: Encoding, deflate_bytes_min: usize) -> Bytes {
        let (plain, opcode) = match encoding {
            Encoding::WebSocketJsonDeflate => (self.json(), Opcode::Text),
            Encoding::WebSocketProtoDeflate => (self.proto(), Opcode::Binary),
            other => return self.frame(other),
        };
        let payload = plain.payload();
        if deflate_bytes_min == 0 || payload.len() < deflate_bytes_min {
            return plain.frame.clone();
        }
        let deflated = self.deflated.get_or_init(Box::default);
        let deflated = match opcode {
            Opcode::Text => &deflated.json,
            Opcode::Binary => &deflated.proto,
        };
        let made = || Some(self.account.batch(encoding::deflated(opcode, &payload)?));
        deflated
            .get_or_init(made)
            .as_ref()
            .unwrap_or(&plain.frame)
            .clone()
    }

    fn json(&self) -> &Framed {
        self.json
            .get_or_init(|| self.framed(Opcode::Text, &encoding::json::batch(self)))
    }

    fn proto(&self) -> &Framed {
        self.proto
            .get_or_init(|| self.framed(Opcode::Binary, &encoding::proto::batch(self)))
    }

    fn sse(&self) -> &Bytes {
        self.sse.get_or_init(|| {
            let json = encoding::json::batch(self);
            // Without a number there is nothing to come back to.
            let at = (self.kind != Kind::Ephemeral).then_some((&self.topic, self.position));
            self.account.batch(encoding::event(at, None, &json))
        })
    }

    fn framed(&self, opcode: Opcode, payload: &[u8]) -> Framed {
        let mut frame = encoding::header(opcode, payload.len());
        let header_bytes = frame.len();
        frame.reserve_exact(payload.len());
        frame.extend_from_slice(payload);
        Framed {
            frame: self.account.batch(frame),
            header_bytes,
        }
    }
}
