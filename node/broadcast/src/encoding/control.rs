//! What a subscriber is told beside messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use weir_core::broadcast::{Position, TopicName};
use weir_proto::convert::encode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What;

use super::json::text;
use super::{Encoding, Opcode, event, header};

/// What a subscriber is told beside messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// These offsets are gone.
    Gap {
        /// Of this topic.
        topic: TopicName,
        /// The topic's life, and the last offset that is gone.
        to: Position,
        /// The first one.
        from: u64,
    },
    /// Whether everything after the position that was asked for is there.
    Recovered {
        /// Of this topic.
        topic: TopicName,
        /// If not, the topic began anew.
        ok: bool,
        /// Where it goes on.
        position: Position,
    },
    /// The node goes.
    Reconnect {
        /// How long to wait before coming back.
        after: Duration,
        /// Where to; empty for the same name.
        alternative: Box<str>,
    },
    /// Messages are taken more slowly than they come.
    Slow {
        /// Bytes that wait.
        lag_bytes: u64,
        /// Ephemeral messages that were dropped since it was told last.
        dropped: u64,
    },
    /// Nothing but a sign of life.
    Ping,
    /// What was asked for is subscribed.
    Subscribed {
        /// The asker's number of it.
        id: u64,
        /// Topics by name, and where they are.
        topics: Vec<(TopicName, Position)>,
    },
    /// What was asked for is not subscribed any more.
    Unsubscribed {
        /// The asker's number of it.
        id: u64,
    },
    /// A message is published.
    Published {
        /// The asker's number of it.
        id: u64,
        /// Where to.
        topic: TopicName,
        /// Where it is; offset 0 if it is not numbered, or if that is not known.
        position: Position,
        /// It was published before.
        duplicate: bool,
        /// Another node has it too.
        replicated: bool,
    },
    /// Who has a topic.
    Present {
        /// The asker's number of it.
        id: u64,
        /// The topic.
        topic: TopicName,
        /// Everybody with a name, unless there are too many.
        members: Vec<Arc<str>>,
        /// All of them.
        count: u64,
    },
    /// What was asked for is not done.
    Error {
        /// The asker's number of it.
        id: u64,
        /// What of it does not do.
        field: Box<str>,
        /// Why.
        message: Box<str>,
    },
}

impl Control {
    /// As it goes out.
    pub fn encode(&self, encoding: Encoding) -> Bytes {
        let framed = |opcode, payload: Vec<u8>| {
            let mut out = header(opcode, payload.len());
            out.extend_from_slice(&payload);
            Bytes::from(out)
        };
        match encoding {
            // Short, and each for one client: not worth compressing.
            Encoding::WebSocketJson | Encoding::WebSocketJsonDeflate => {
                framed(Opcode::Text, self.json().into_bytes())
            }
            Encoding::WebSocketProto | Encoding::WebSocketProtoDeflate => {
                framed(Opcode::Binary, self.proto())
            }
            Encoding::Grpc => self.proto().into(),
            Encoding::Json => self.json().into(),
            Encoding::Sse => self.event().into(),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Recovered { .. } => "recovered",
            Self::Reconnect { .. } => "reconnect",
            Self::Slow { .. } => "slow",
            Self::Ping => "ping",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Published { .. } => "published",
            Self::Present { .. } => "present",
            Self::Error { .. } => "error",
        }
    }

    fn json(&self) -> String {
        let fields = match self {
            Self::Gap { topic, to, from } => format!(
                "\"topic\":\"{topic}\",\"epoch\":\"{}\",\"from\":{from},\"to\":{}",
                to.epoch, to.offset
            ),
            Self::Recovered {
                topic,
                ok,
                position,
            } => format!(
                "\"topic\":\"{topic}\",\"ok\":{ok},\"epoch\":\"{}\",\"offset\":{}",
                position.epoch, position.offset
            ),
            Self::Reconnect { after, alternative } => format!(
                "\"after_ms\":{},\"alternative\":{}",
                after.as_millis(),
                text(alternative)
            ),
            Self::Slow { lag_bytes, dropped } => {
                format!("\"lag_bytes\":{lag_bytes},\"dropped\":{dropped}")
            }
            Self::Ping => String::new(),
            _ => self.answer(),
        };
        format!("{{\"{}\":{{{fields}}}}}", self.name())
    }

    /// The fields of what answers somebody.
    fn answer(&self) -> String {
        let at = |topic: &TopicName, position: &Position| {
            let (epoch, offset) = (position.epoch, position.offset);
            format!("\"topic\":\"{topic}\",\"epoch\":\"{epoch}\",\"offset\":{offset}")
        };
        match self {
            Self::Subscribed { id, topics } => {
                let topics = topics.iter().map(|(topic, position)| at(topic, position));
                let topics: Vec<_> = topics.map(|topic| format!("{{{topic}}}")).collect();
                format!("\"id\":{id},\"topics\":[{}]", topics.join(","))
            }
            Self::Published {
                id,
                topic,
                position,
                duplicate,
                replicated,
            } => {
                let at = at(topic, position);
                format!("\"id\":{id},{at},\"duplicate\":{duplicate},\"replicated\":{replicated}")
            }
            Self::Present {
                id,
                topic,
                members,
                count,
            } => {
                let members: Vec<_> = members.iter().map(|member| text(member)).collect();
                let members = members.join(",");
                format!(
                    "\"id\":{id},\"topic\":\"{topic}\",\"count\":{count},\"members\":[{members}]"
                )
            }
            Self::Error { id, field, message } => {
                let (field, message) = (text(field), text(message));
                format!("\"id\":{id},\"field\":{field},\"message\":{message}")
            }
            Self::Unsubscribed { id } => format!("\"id\":{id}"),
            _ => String::new(),
        }
    }

    fn event(&self) -> Vec<u8> {
        let json = self.json();
        match self {
            // A comment: clients see it as traffic and nothing else.
            Self::Ping => b":\n\n".to_vec(),
            // Who comes back resumes from here: what is gone is told once.
            Self::Gap {
                topic,
                to: position,
                ..
            }
            | Self::Recovered {
                topic, position, ..
            } => event(Some((topic, *position)), Some(self.name()), json.as_bytes()),
            Self::Reconnect { after, .. } => {
                let mut out = format!("retry: {}\n", after.as_millis()).into_bytes();
                out.extend(event(None, Some(self.name()), json.as_bytes()));
                out
            }
            _ => event(None, Some(self.name()), json.as_bytes()),
        }
    }

    fn proto(&self) -> Vec<u8> {
        let what = match self {
            Self::Gap { topic, to, from } => What::Gap(pb::Gap {
                topic: topic.to_string(),
                epoch: to.epoch.0,
                from: *from,
                to: to.offset,
            }),
            Self::Recovered {
                topic,
                ok,
                position,
            } => What::Recovered(pb::Recovered {
                topic: topic.to_string(),
                ok: *ok,
                position: Some(encode_position(*position)),
            }),
            Self::Reconnect { after, alternative } => What::Reconnect(pb::Reconnect {
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                alternative: alternative.to_string(),
            }),
            Self::Slow { lag_bytes, dropped } => What::Slow(pb::Slow {
                lag_bytes: *lag_bytes,
                dropped: *dropped,
            }),
            Self::Ping => What::Ping(pb::Ping {}),
            other => other.proto_answer(),
        };
        pb::Delivery { what: Some(what) }.encode_to_vec()
    }

    /// What answers somebody.
    fn proto_answer(&self) -> What {
        match self {
            Self::Subscribed { id, topics } => {
                let topic = |(topic, position): &(TopicName, Position)| pb::SubscribedTopic {
                    topic: topic.to_string(),
                    position: Some(encode_position(*position)),
                };
                What::Subscribed(pb::Subscribed {
                    id: *id,
                    topics: topics.iter().map(topic).collect(),
                })
            }
            Self::Unsubscribed { id } => What::Unsubscribed(pb::Unsubscribed { id: *id }),
            Self::Published {
                id,
                topic,
                position,
                duplicate,
                replicated,
            } => What::Published(pb::Published {
                id: *id,
                topic: topic.to_string(),
                position: Some(encode_position(*position)),
                duplicate: *duplicate,
                replicated: *replicated,
            }),
            Self::Present {
                id,
                topic,
                members,
                count,
            } => What::Present(pb::Present {
                id: *id,
                topic: topic.to_string(),
                members: members.iter().map(ToString::to_string).collect(),
                count: *count,
            }),
            Self::Error { id, field, message } => What::Error(pb::AskError {
                id: *id,
                field: field.to_string(),
                message: message.to_string(),
            }),
            _ => What::Ping(pb::Ping {}),
        }
    }
}
