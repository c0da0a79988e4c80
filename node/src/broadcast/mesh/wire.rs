//! Messages, positions and questions as they are between nodes.

use bytes::Bytes;
use prost::Message as _;
use weir_broadcast::{Draft, HeldMessage, Message, Published, Remote};
use weir_core::broadcast::{Epoch, Facts as _, Position, TopicName};
use weir_core::cache::UnixMs;
use weir_proto::convert::{
    decode_class, decode_content, decode_position, encode_class, encode_content, encode_position,
};
use weir_proto::node::v1 as pb;

use super::Ack;

/// The longest message between nodes, protobuf around it included.
pub(crate) const MESSAGE_BYTES_MAX: usize = 80 << 20;

/// What is wrong with what another node says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A field holds what this version does not know.
    #[error("{field} holds {value}, which this version does not know")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: i32,
    },
    /// A topic that is none.
    #[error(transparent)]
    Topic(#[from] weir_core::broadcast::Refused),
    /// Bytes that are no message.
    #[error("a delivery that cannot be read: {0}")]
    Delivery(#[from] prost::DecodeError),
}

/// A message for the node that numbers it.
pub(crate) fn encode_draft(draft: Draft, ack: Ack) -> pb::PublishRequest {
    pb::PublishRequest {
        topic: draft.topic.to_string(),
        data: draft.data,
        class: encode_class(draft.class).into(),
        key: draft.key.into(),
        content: encode_content(draft.content).into(),
        idempotency_key: draft.idempotency_key.unwrap_or_default().into(),
        ack: match ack {
            Ack::None => pb::PublishAck::None,
            Ack::Owner => pb::PublishAck::Owner,
            Ack::Replicated => pb::PublishAck::Replicated,
        }
        .into(),
    }
}

/// A message of another node, and what its publisher waits for.
///
/// # Errors
/// What this version does not know.
pub(crate) fn decode_draft(wire: pb::PublishRequest) -> Result<(Draft, Ack), WireError> {
    let ack = match pb::PublishAck::try_from(wire.ack) {
        Ok(pb::PublishAck::None) => Ack::None,
        Ok(pb::PublishAck::Replicated) => Ack::Replicated,
        Ok(pb::PublishAck::Owner | pb::PublishAck::Unspecified) => Ack::Owner,
        Err(_) => return Err(unknown("ack", wire.ack)),
    };
    let key = wire.idempotency_key;
    let draft = Draft {
        topic: TopicName::any(&wire.topic)?,
        class: decode_class(wire.class).ok_or_else(|| unknown("class", wire.class))?,
        key: wire.key.into(),
        content: decode_content(wire.content).ok_or_else(|| unknown("content", wire.content))?,
        data: wire.data,
        idempotency_key: (!key.is_empty()).then(|| key.into()),
    };
    Ok((draft, ack))
}

const fn unknown(field: &'static str, value: i32) -> WireError {
    WireError::Unknown { field, value }
}

/// What became of a message, from the wire.
pub(crate) fn decode_published(wire: pb::PublishResponse) -> (Published, bool) {
    let published = Published {
        position: decode_position(wire.position.unwrap_or_default()),
        is_duplicate: wire.duplicate,
    };
    (published, wire.replicated)
}

/// What one topic's copy has.
pub(crate) fn encode_copy(topic: &TopicName, position: Position) -> pb::TopicCopy {
    pb::TopicCopy {
        topic: topic.to_string(),
        position: Some(encode_position(position)),
    }
}

/// The same from the wire; `None` for a topic that is none.
pub(crate) fn decode_copy(wire: pb::TopicCopy) -> Option<(TopicName, Position)> {
    let topic = TopicName::any(&wire.topic).ok()?;
    Some((topic, decode_position(wire.position.unwrap_or_default())))
}

/// What a subscriber is told, from the bytes that any subscriber gets.
///
/// # Errors
/// When they are none.
pub(crate) fn decode_delivery(bytes: Bytes) -> Result<Option<pb::delivery::What>, WireError> {
    Ok(pb::Delivery::decode(bytes)?.what)
}

/// The messages of a batch, each with the offset that it follows.
///
/// # Errors
/// The first thing that this version does not know.
pub(crate) fn decode_batch(batch: pb::Batch) -> Result<Vec<Remote>, WireError> {
    let topic = TopicName::any(&batch.topic)?;
    let mut after = batch.after;
    let epoch = Epoch(batch.epoch);
    let messages = batch.messages.into_iter().map(|message| {
        let remote = decode_message(&topic, epoch, after, message, None)?;
        after = after.max(remote.position.offset);
        Ok(remote)
    });
    messages.collect()
}

fn decode_message(
    topic: &TopicName,
    epoch: Epoch,
    after: u64,
    message: pb::Message,
    key: Option<Box<str>>,
) -> Result<Remote, WireError> {
    let draft = Draft {
        topic: topic.clone(),
        class: decode_class(message.class).ok_or_else(|| unknown("class", message.class))?,
        key: message.key.into(),
        content: decode_content(message.content)
            .ok_or_else(|| unknown("content", message.content))?,
        data: message.data,
        idempotency_key: key,
    };
    Ok(Remote {
        draft,
        position: Position {
            epoch,
            offset: message.offset,
        },
        after,
        published_at: UnixMs(message.published_unix_ms),
    })
}

/// Messages for the replica of their topic.
pub(crate) fn encode_held(
    topic: &TopicName,
    epoch: Epoch,
    held: Vec<HeldMessage>,
) -> pb::Replicate {
    let messages = held
        .into_iter()
        .map(|(message, key)| pb::ReplicatedMessage {
            message: Some(encode_message(&message)),
            idempotency_key: key.unwrap_or_default().into(),
        });
    pb::Replicate {
        topic: topic.to_string(),
        epoch: epoch.0,
        messages: messages.collect(),
    }
}

fn encode_message(message: &Message) -> pb::Message {
    pb::Message {
        offset: message.position().offset,
        class: encode_class(message.class()).into(),
        key: message.key().to_owned(),
        content: encode_content(message.content()).into(),
        data: message.data().clone(),
        published_unix_ms: message.published_at().0,
    }
}

/// The same from the wire: each follows the one before it.
///
/// # Errors
/// The first thing that this version does not know.
pub(crate) fn decode_held(held: pb::Replicate) -> Result<(TopicName, Vec<Remote>), WireError> {
    let topic = TopicName::any(&held.topic)?;
    let epoch = Epoch(held.epoch);
    let messages = held.messages.into_iter().map(|message| {
        let key = message.idempotency_key;
        let key = (!key.is_empty()).then(|| key.into());
        let message = message.message.unwrap_or_default();
        let after = message.offset.saturating_sub(1);
        decode_message(&topic, epoch, after, message, key)
    });
    let messages: Result<Vec<_>, WireError> = messages.collect();
    Ok((topic.clone(), messages?))
}
