//! A message, and what a publisher gives for one.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use weir_core::broadcast::{Class, Content, Facts, Limits, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use crate::account::Account;
use crate::encoding;

/// What a message takes beside its data and its key, wherever it is kept.
const OVERHEAD_BYTES: usize = size_of::<Message>() + 128;

/// What a publisher gives.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where to.
    pub topic: TopicName,
    /// What may be lost of it.
    pub class: Class,
    /// What a newer message replaces it by; for [`Class::Latest`] only, where the empty key is one too.
    pub key: Box<str>,
    /// What the data are.
    pub content: Content,
    /// The message itself. It is copied.
    pub data: Bytes,
    /// A second message with the same one within 120 s is not published.
    pub idempotency_key: Option<Box<str>>,
}

impl Draft {
    /// A stream message of any bytes.
    pub fn new(topic: TopicName, data: impl Into<Bytes>) -> Self {
        Self {
            topic,
            class: Class::Stream,
            key: "".into(),
            content: Content::Binary,
            data: data.into(),
            idempotency_key: None,
        }
    }

    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Refused> {
        let bound = |field, bytes, max| match bytes > max {
            true => Err(Refused::TooLong { field, bytes, max }),
            false => Ok(()),
        };
        bound("data", self.data.len(), limits.message_bytes_max)?;
        bound("key", self.key.len(), limits.key_bytes_max)?;
        let idempotency_key = self.idempotency_key.as_deref().unwrap_or_default();
        bound(
            "idempotency_key",
            idempotency_key.len(),
            limits.key_bytes_max,
        )?;
        if !self.key.is_empty() && self.class != Class::Latest {
            return Err(Refused::Class {
                field: "key",
                class: self.class.as_str(),
            });
        }
        check_content(self.content, &self.data)
    }
}

fn check_content(content: Content, data: &[u8]) -> Result<(), Refused> {
    let (sound, expected) = match content {
        Content::Binary => return Ok(()),
        Content::Text => (std::str::from_utf8(data).is_ok(), "UTF-8"),
        Content::Json => {
            let sound = std::str::from_utf8(data).is_ok() && is_json(data);
            (sound, "one JSON value in UTF-8")
        }
    };
    match sound {
        true => Ok(()),
        false => Err(Refused::Content { expected }),
    }
}

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

/// A message of another node, which numbered it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The message; its idempotency key was for the node that numbered it.
    pub draft: Draft,
    /// The number that it was given.
    pub position: Position,
    /// The offset that it follows: its own less one, or less where others were replaced on the way.
    pub after: u64,
    /// When it was published there.
    pub published_at: UnixMs,
}

/// A message that was numbered. It encodes itself once for each form, for everybody.
#[derive(Debug)]
pub struct Message {
    topic: TopicName,
    class: Class,
    position: Position,
    after: u64,
    key: Box<str>,
    content: Content,
    data: Bytes,
    published_at: UnixMs,
    json: OnceLock<Box<[u8]>>,
    proto: OnceLock<Box<[u8]>>,
    account: Account,
}

impl Message {
    pub(crate) fn new(
        draft: Draft,
        position: Position,
        after: u64,
        published_at: UnixMs,
        account: Account,
    ) -> Arc<Self> {
        let message = Self {
            topic: draft.topic,
            class: draft.class,
            position,
            after,
            key: draft.key,
            content: draft.content,
            // What came may be a small part of a large buffer.
            data: Bytes::copy_from_slice(&draft.data),
            published_at,
            json: OnceLock::new(),
            proto: OnceLock::new(),
            account,
        };
        message.account.charge(message.bytes());
        Arc::new(message)
    }

    /// Where it was published to.
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// What the data are.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// The message itself.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    pub(crate) fn json(&self) -> &[u8] {
        self.json
            .get_or_init(|| self.encoded(encoding::json::message(self)))
    }

    pub(crate) fn proto(&self) -> &[u8] {
        self.proto
            .get_or_init(|| self.encoded(encoding::proto::message(self)))
    }

    fn encoded(&self, form: Vec<u8>) -> Box<[u8]> {
        let form = form.into_boxed_slice();
        self.account.message_encoded();
        self.account.charge(form.len());
        form
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let forms = [&self.json, &self.proto];
        let forms = forms.into_iter().filter_map(|form| form.get());
        let forms: usize = forms.map(|form| form.len()).sum();
        self.account.discharge(self.bytes() + forms);
    }
}

impl Facts for Message {
    fn class(&self) -> Class {
        self.class
    }

    fn position(&self) -> Position {
        self.position
    }

    fn after(&self) -> u64 {
        self.after
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn bytes(&self) -> usize {
        self.data.len() + self.key.len() + OVERHEAD_BYTES
    }

    fn published_at(&self) -> UnixMs {
        self.published_at
    }
}
