//! The forms in which messages go out.
//!
//! A message is encoded once in JSON and once in protobuf; batches put these together. Every transport's frame holds
//! one of both, so a form of a batch is made once for everybody on a thread.

mod control;
pub(crate) mod json;
pub(crate) mod proto;
mod websocket;

pub use control::Control;
pub use json::base64;

use weir_core::broadcast::{Position, TopicName};

/// A form of what goes out: frames as they are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A WebSocket text frame with JSON, its header included. Frames of a server are not masked (RFC 6455, section
    /// 5.1).
    WebSocketJson,
    /// A WebSocket binary frame with a `weir.node.v1.Delivery`, its header included.
    WebSocketProto,
    /// The first one, compressed (RFC 7692) where that is agreed on, worth it and wanted.
    WebSocketJsonDeflate,
    /// The second one, in the same way.
    WebSocketProtoDeflate,
    /// An event of `text/event-stream` with JSON.
    Sse,
    /// The bytes of a `weir.node.v1.Delivery`, without gRPC's prefix, which the codec writes.
    Grpc,
    /// JSON alone.
    Json,
}

impl Encoding {
    /// As people and metrics read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocketJson => "websocket-json",
            Self::WebSocketProto => "websocket-proto",
            Self::WebSocketJsonDeflate => "websocket-json-deflate",
            Self::WebSocketProtoDeflate => "websocket-proto-deflate",
            Self::Sse => "sse",
            Self::Grpc => "grpc",
            Self::Json => "json",
        }
    }
}

pub(crate) use websocket::{Opcode, deflated, header};

/// An event with this JSON, which holds no line breaks. It begins with where it leaves a subscriber of its topic:
/// whoever gets several topics is told of all in one line, by whoever writes.
pub(crate) fn event(
    at: Option<(&TopicName, Position)>,
    name: Option<&str>,
    json: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 80);
    if let Some((topic, position)) = at {
        out.extend_from_slice(format!("id: {topic}@{position}\n").as_bytes());
    }
    if let Some(name) = name {
        out.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
    out
}
