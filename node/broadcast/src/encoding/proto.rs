//! `weir.node.v1.Delivery`. A batch is put together of messages that are encoded as its fields.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use weir_core::broadcast::Facts as _;
use weir_proto::convert::{encode_class, encode_content};
use weir_proto::node::v1 as pb;

use crate::batch::Batch;
use crate::message::Message;

/// `messages` in `Batch`, and `batch` in `Delivery`.
const MESSAGES: u32 = 5;
const BATCH: u32 = 1;

/// A message as a field of `Batch`.
pub(crate) fn message(message: &Message) -> Vec<u8> {
    let wire = pb::Message {
        offset: message.position().offset,
        class: encode_class(message.class()).into(),
        key: message.key().to_owned(),
        content: encode_content(message.content()).into(),
        data: message.data().clone(),
        published_unix_ms: message.published_at().0,
    };
    let mut out = Vec::with_capacity(wire.encoded_len() + 8);
    prost::encoding::message::encode(MESSAGES, &wire, &mut out);
    out
}

/// A delivery of a batch.
pub(crate) fn batch(batch: &Batch) -> Vec<u8> {
    let head = pb::Batch {
        topic: batch.topic().as_str().to_owned(),
        epoch: batch.position().epoch.0,
        after: batch.after(),
        conflated: batch.conflated(),
        messages: Vec::new(),
    };
    let messages: usize = batch
        .messages()
        .iter()
        .map(|message| message.proto().len())
        .sum();
    let bytes = head.encoded_len() + messages;
    let mut out = Vec::with_capacity(key_len(BATCH) + encoded_len_varint(bytes as u64) + bytes);
    encode_key(BATCH, WireType::LengthDelimited, &mut out);
    encode_varint(bytes as u64, &mut out);
    out.extend_from_slice(&head.encode_to_vec());
    for message in batch.messages() {
        out.extend_from_slice(message.proto());
    }
    out
}
