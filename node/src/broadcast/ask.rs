//! What clients ask for, of whatever form it comes in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use weir_broadcast::{Control, Draft, Since};
use weir_core::broadcast::{Class, Content, Pattern, Position, TopicName};
use weir_proto::convert::{decode_class, decode_content, decode_position};
use weir_proto::node::v1 as pb;

use super::{Ack, PublishError, raw_json};

/// What a client asks for at once.
#[derive(Debug, Default)]
pub struct Ask {
    /// The client's number of it, which the answer carries.
    pub id: u64,
    /// Topics, and from where.
    pub subscribe: Vec<(TopicName, Since)>,
    /// Patterns, from now on.
    pub subscribe_patterns: Vec<Pattern>,
    /// Topics that it wants no more.
    pub unsubscribe: Vec<TopicName>,
    /// Patterns that it wants no more.
    pub unsubscribe_patterns: Vec<Pattern>,
    /// A message.
    pub publish: Option<(Draft, Ack)>,
    /// Of which topic to tell who is there.
    pub presence: Option<TopicName>,
}

/// Something that cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAsk {
    /// The client's number of it, as far as it could be read.
    pub id: u64,
    /// What of it does not do.
    pub field: Box<str>,
    /// Why.
    pub message: Box<str>,
}

impl BadAsk {
    pub(super) fn new(field: &str, message: impl ToString) -> Self {
        Self {
            id: 0,
            field: field.into(),
            message: message.to_string().into(),
        }
    }

    pub(super) fn failed(id: u64, error: &PublishError) -> Self {
        let field = match error {
            PublishError::Refused(_) => "publish",
            PublishError::Mesh(_) => "node",
        };
        Self::new(field, error).of(id)
    }

    fn of(self, id: u64) -> Self {
        Self { id, ..self }
    }
}

impl From<BadAsk> for Control {
    fn from(bad: BadAsk) -> Self {
        Self::Error {
            id: bad.id,
            field: bad.field,
            message: bad.message,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Subscribe(Topics),
    Unsubscribe(Topics),
    Publish(Publish),
    Presence(Presence),
    Ping(Ping),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topics {
    #[serde(default)]
    topics: Vec<Topic>,
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    id: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Topic {
    Name(String),
    From(FromWhere),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromWhere {
    topic: String,
    #[serde(default)]
    since: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    topic: String,
    #[serde(default, rename = "data")]
    _data: Option<IgnoredAny>,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    class: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    ack: String,
    #[serde(default)]
    id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presence {
    topic: String,
    #[serde(default)]
    id: u64,
}

#[derive(Deserialize)]
struct Ping {}

#[derive(Deserialize)]
struct Id {
    #[serde(default)]
    id: u64,
}

impl Ask {
    /// What a text frame asks for: an object with one member.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub fn from_json(text: &str) -> Result<Self, BadAsk> {
        let wire: Wire = serde_json::from_str(text).map_err(|error| {
            let part = raw_json::only(text).and_then(|part| serde_json::from_str::<Id>(part).ok());
            BadAsk::new("message", error).of(part.map_or(0, |part| part.id))
        })?;
        match wire {
            Wire::Ping(_) => Ok(Self::default()),
            Wire::Presence(asked) => {
                let topic = any_topic(&asked.topic).map_err(|bad| bad.of(asked.id))?;
                Ok(Self {
                    id: asked.id,
                    presence: Some(topic),
                    ..Self::default()
                })
            }
            Wire::Subscribe(asked) => asked.subscribe().map_err(|bad| bad.of(asked.id)),
            Wire::Unsubscribe(asked) => asked.unsubscribe().map_err(|bad| bad.of(asked.id)),
            Wire::Publish(asked) => {
                let id = asked.id;
                let raw = raw_json::member(text, "publish");
                let raw = raw.and_then(|publish| raw_json::member(publish, "data"));
                let publish = asked.draft(raw).map_err(|bad| bad.of(id))?;
                Ok(Self {
                    id,
                    publish: Some(publish),
                    ..Self::default()
                })
            }
        }
    }

    /// What a binary frame asks for: a `weir.node.v1.SessionRequest`.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub fn from_proto(bytes: &[u8]) -> Result<Self, BadAsk> {
        let request = pb::SessionRequest::decode(bytes);
        Self::from_request(request.map_err(|error| BadAsk::new("message", error))?)
    }

    /// What a session of gRPC asks for.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub fn from_request(request: pb::SessionRequest) -> Result<Self, BadAsk> {
        let id = request.id;
        Self::read_request(request).map_err(|bad| bad.of(id))
    }

    fn read_request(request: pb::SessionRequest) -> Result<Self, BadAsk> {
        let subscribe = request.subscribe.iter().map(from_subscription);
        Ok(Self {
            id: request.id,
            subscribe: subscribe.collect::<Result<_, _>>()?,
            subscribe_patterns: patterns(&request.subscribe_patterns)?,
            unsubscribe: all(&request.unsubscribe, |topic| any_topic(topic))?,
            unsubscribe_patterns: patterns(&request.unsubscribe_patterns)?,
            publish: request.publish.map(from_publish_request).transpose()?,
            presence: match &*request.presence {
                "" => None,
                topic => Some(any_topic(topic)?),
            },
        })
    }
}

impl Topics {
    fn subscribe(&self) -> Result<Ask, BadAsk> {
        let topic = |topic: &Topic| match topic {
            Topic::Name(name) => Ok((any_topic(name)?, Since::Now)),
            Topic::From(from) => Ok((any_topic(&from.topic)?, since(&from.since)?)),
        };
        Ok(Ask {
            id: self.id,
            subscribe: all(&self.topics, topic)?,
            subscribe_patterns: patterns(&self.patterns)?,
            ..Ask::default()
        })
    }

    fn unsubscribe(&self) -> Result<Ask, BadAsk> {
        let name = |topic: &Topic| match topic {
            Topic::Name(name) => any_topic(name),
            Topic::From(from) => any_topic(&from.topic),
        };
        Ok(Ask {
            id: self.id,
            unsubscribe: all(&self.topics, name)?,
            unsubscribe_patterns: patterns(&self.patterns)?,
            ..Ask::default()
        })
    }
}

impl Publish {
    fn draft(self, json: Option<&str>) -> Result<(Draft, Ack), BadAsk> {
        let (content, data) = match (json, self.text, self.base64) {
            (Some(json), None, None) => (Content::Json, Bytes::copy_from_slice(json.as_bytes())),
            (None, Some(text), None) => (Content::Text, text.into()),
            (None, None, Some(base64)) => {
                let data = STANDARD.decode(base64);
                let data = data.map_err(|error| BadAsk::new("base64", error))?;
                (Content::Binary, data.into())
            }
            _ => {
                let what = "a message has exactly one of data, text, base64";
                return Err(BadAsk::new("data", what));
            }
        };
        let draft = Draft {
            class: class(&self.class)?,
            key: self.key.into(),
            content,
            idempotency_key: some(self.idempotency_key),
            ..Draft::new(new_topic(&self.topic)?, data)
        };
        Ok((draft, ack(&self.ack)?))
    }
}

/// One message of gRPC.
///
/// # Errors
///
/// The first thing about it that does not do.
pub fn from_publish_request(request: pb::PublishRequest) -> Result<(Draft, Ack), BadAsk> {
    let class = decode_class(request.class);
    let content = decode_content(request.content);
    let draft = Draft {
        class: class.ok_or_else(|| BadAsk::new("class", "means nothing here"))?,
        content: content.ok_or_else(|| BadAsk::new("content", "means nothing here"))?,
        key: request.key.into(),
        idempotency_key: some(request.idempotency_key),
        ..Draft::new(new_topic(&request.topic)?, request.data)
    };
    let ack = match pb::PublishAck::try_from(request.ack) {
        Ok(pb::PublishAck::Unspecified | pb::PublishAck::Owner) => Ack::Owner,
        Ok(pb::PublishAck::None) => Ack::None,
        Ok(pb::PublishAck::Replicated) => Ack::Replicated,
        Err(_) => return Err(BadAsk::new("ack", "means nothing here")),
    };
    Ok((draft, ack))
}

/// One subscription of gRPC.
///
/// # Errors
///
/// The first thing about it that does not do.
pub fn from_subscription(
    subscription: &pb::TopicSubscription,
) -> Result<(TopicName, Since), BadAsk> {
    use pb::topic_subscription::Since as Wire;
    let since = match &subscription.since {
        None | Some(Wire::All(false)) => Since::Now,
        Some(Wire::All(true)) => Since::Start,
        Some(Wire::Position(position)) => Since::Position(decode_position(*position)),
    };
    Ok((any_topic(&subscription.topic)?, since))
}

fn some(text: String) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn all<'a, T: 'a, U>(
    items: impl IntoIterator<Item = &'a T>,
    read: impl Fn(&T) -> Result<U, BadAsk>,
) -> Result<Vec<U>, BadAsk> {
    items.into_iter().map(read).collect()
}

pub(super) fn patterns(texts: &[String]) -> Result<Vec<Pattern>, BadAsk> {
    all(texts, |text| {
        Pattern::new(text).map_err(|refused| BadAsk::new("pattern", refused))
    })
}

/// A topic that may be one of the node's own.
pub(super) fn any_topic(text: &str) -> Result<TopicName, BadAsk> {
    TopicName::any(text).map_err(|refused| BadAsk::new("topic", refused))
}

/// A topic that clients publish to.
pub(super) fn new_topic(text: &str) -> Result<TopicName, BadAsk> {
    TopicName::new(text).map_err(|refused| BadAsk::new("topic", refused))
}

pub(super) fn since(text: &str) -> Result<Since, BadAsk> {
    match text {
        "" | "now" => Ok(Since::Now),
        "all" => Ok(Since::Start),
        position => {
            let position: Result<Position, _> = position.parse();
            let position = position.map_err(|error| {
                BadAsk::new("since", format!("`{text}` is none of all, now: {error}"))
            })?;
            Ok(Since::Position(position))
        }
    }
}

pub(super) fn class(text: &str) -> Result<Class, BadAsk> {
    if text.is_empty() {
        return Ok(Class::Stream);
    }
    let found = Class::ALL.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| {
        let what = format!("`{text}` is none of critical, stream, latest, ephemeral");
        BadAsk::new("class", what)
    })
}

pub(super) fn ack(text: &str) -> Result<Ack, BadAsk> {
    match text {
        "" | "owner" => Ok(Ack::Owner),
        "none" => Ok(Ack::None),
        "replicated" => Ok(Ack::Replicated),
        other => {
            let what = format!("`{other}` is none of none, owner, replicated");
            Err(BadAsk::new("ack", what))
        }
    }
}
