//! Messages to everyone: their bounds, and who may publish and subscribe.

use std::time::Duration;

use weir_control_plane::governance::secret::SecretRef;
use weir_core::broadcast::{
    BatchLimits, BatchMode, HistoryLimits, Limits, OutboxLimits, Pattern, TopicName,
};
use weir_core::tuning::is_name;
use weir_core::tuning::knobs::{broadcaster as knobs, ingress};

use super::name_rule;
use super::reader::{Problem, Section};
use super::vpns::read_secret;

const TOKENS_MAX: usize = 1_024;
const GRANTS_MAX: usize = 256;

/// The `[broadcaster]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcasterSettings {
    /// Bounds of messages, topics, batches, histories and what waits.
    pub limits: Limits,
    /// Subscribers of the node at once.
    pub connections_max: usize,
    /// Subscribers that one client address may begin within a second.
    pub handshakes_per_second_max: u32,
    /// Messages that one token, or one client address without a token, may publish within a second.
    pub publish_per_second_max: u32,
    /// What holds for WebSockets.
    pub websocket: WebSocketSettings,
    /// Over how long subscribers come back that are sent to another node.
    pub drain_window: Duration,
    /// What clients of routes may do that show no token.
    pub anonymous: Anonymous,
    /// Who else may do what on routes.
    pub tokens: Vec<TokenSettings>,
}

/// The `websocket_*` keys of `[ingress]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// Bytes of one message from a client.
    pub message_bytes_max: usize,
    /// How often a client is pinged that says nothing.
    pub ping_interval: Option<Duration>,
    /// How long a client may be silent.
    pub idle_timeout: Duration,
}

impl WebSocketSettings {
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        Self {
            message_bytes_max: s.tuned(
                problems,
                "websocket_message_bytes_max",
                &ingress::WEBSOCKET_MESSAGE_BYTES_MAX,
            ),
            ping_interval: s.tuned(
                problems,
                "websocket_ping_interval",
                &ingress::WEBSOCKET_PING_INTERVAL,
            ),
            idle_timeout: s.tuned(
                problems,
                "websocket_idle_timeout",
                &ingress::WEBSOCKET_IDLE_TIMEOUT,
            ),
        }
    }
}

/// What clients of routes may do that show no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing.
    #[default]
    Nothing,
    /// Subscribe to whatever is not the node's own.
    Subscribe,
    /// That, and publish.
    All,
}

/// Somebody who shows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// What presence and logs call whoever shows it.
    pub name: String,
    /// Where the token is.
    pub token: SecretRef,
    /// What they may publish to.
    pub publish: Vec<Grant>,
    /// What they may subscribe to.
    pub subscribe: Vec<Grant>,
}

/// One topic, or those that a pattern takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// This one.
    Topic(TopicName),
    /// All that it takes.
    Pattern(Pattern),
}

impl Grant {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['*', '>']) {
            let pattern = Pattern::new(text).map_err(|refused| refused.to_string())?;
            return Ok(Self::Pattern(pattern));
        }
        let topic = TopicName::any(text).map_err(|refused| refused.to_string())?;
        Ok(Self::Topic(topic))
    }
}

impl BroadcasterSettings {
    pub(super) fn read(
        root: &mut Section,
        problems: &mut Vec<Problem>,
        websocket: WebSocketSettings,
    ) -> Self {
        let mut s = root.section(problems, "broadcaster").read_by("broadcaster");
        let settings = Self {
            limits: read_limits(&mut s, problems),
            connections_max: s.tuned(problems, "connections_max", &knobs::CONNECTIONS_MAX),
            handshakes_per_second_max: s.tuned(
                problems,
                "handshakes_per_second_max",
                &knobs::HANDSHAKES_PER_SECOND_MAX,
            ),
            publish_per_second_max: s.tuned(
                problems,
                "publish_per_second_max",
                &knobs::PUBLISH_PER_SECOND_MAX,
            ),
            websocket,
            drain_window: s.tuned(problems, "drain_window", &knobs::DRAIN_WINDOW),
            anonymous: read_anonymous(&mut s, problems),
            tokens: read_tokens(&mut s, problems),
        };
        s.finish(problems);
        settings
    }
}

fn read_limits(s: &mut Section, problems: &mut Vec<Problem>) -> Limits {
    let is_immediate: bool = s.tuned(problems, "immediate", &knobs::IMMEDIATE);
    let bytes_max = s.tuned(
        problems,
        "client_queue_bytes_max",
        &knobs::CLIENT_QUEUE_BYTES_MAX,
    );
    let message_bytes_max = s.tuned(problems, "message_bytes_max", &knobs::MESSAGE_BYTES_MAX);
    let default = Limits::default();
    let limits = Limits {
        message_bytes_max,
        topics_max: usize::try_from(s.number(problems, "topics_max", 100_000, 1..=10_000_000))
            .unwrap_or(usize::MAX),
        batch: BatchLimits {
            messages_max: s.tuned(problems, "batch_messages_max", &knobs::BATCH_MESSAGES_MAX),
            delay_max: s.tuned(problems, "batch_interval", &knobs::BATCH_INTERVAL),
            mode: match is_immediate {
                true => BatchMode::Adaptive,
                false => BatchMode::Fixed,
            },
            ..default.batch
        },
        history: HistoryLimits {
            messages_max: s.tuned(
                problems,
                "history_messages_max",
                &knobs::HISTORY_MESSAGES_MAX,
            ),
            age_max: s.tuned(problems, "history_age_max", &knobs::HISTORY_AGE_MAX),
            ..default.history
        },
        outbox: OutboxLimits {
            bytes_max,
            age_max: s.tuned(
                problems,
                "client_queue_age_max",
                &knobs::CLIENT_QUEUE_AGE_MAX,
            ),
            ..default.outbox
        },
        retained_bytes_max: s.tuned(problems, "retained_bytes_max", &knobs::RETAINED_BYTES_MAX),
        inbox_bytes_max: default.inbox_bytes_max.max(message_bytes_max),
        deflate_bytes_min: s.tuned(problems, "deflate_bytes_min", &knobs::DEFLATE_BYTES_MIN),
        ..default
    };
    debug_assert_eq!(
        limits.check(),
        Ok(()),
        "the knobs' bounds are those of the limits"
    );
    limits
}

fn read_anonymous(s: &mut Section, problems: &mut Vec<Problem>) -> Anonymous {
    match s.text(problems, "anonymous").as_deref() {
        None | Some("nothing") => Anonymous::Nothing,
        Some("subscribe") => Anonymous::Subscribe,
        Some("all") => Anonymous::All,
        Some(other) => {
            let what = format!("`{other}` is none of nothing, subscribe, all");
            s.problem(problems, "anonymous", what);
            Anonymous::Nothing
        }
    }
}

fn read_tokens(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<TokenSettings> {
    let sections = s.sections(problems, "tokens");
    if sections.len() > TOKENS_MAX {
        let what = format!("{} of them, at most {TOKENS_MAX}", sections.len());
        s.problem(problems, "tokens", what);
    }
    let read = |(name, mut s): (String, Section)| {
        let settings = read_token(name, &mut s, problems);
        s.finish(problems);
        settings
    };
    sections.into_iter().filter_map(read).collect()
}

fn read_token(name: String, s: &mut Section, problems: &mut Vec<Problem>) -> Option<TokenSettings> {
    if !is_name(&name) {
        s.problem(problems, "name", name_rule(&name));
    }
    if !s.has("token") {
        s.problem(problems, "token", "is required: file:/path or env:NAME");
    }
    let token = read_secret(s, problems, "token");
    let [publish, subscribe] = ["publish", "subscribe"].map(|key| read_grants(s, problems, key));
    Some(TokenSettings {
        name,
        token: token?,
        publish,
        subscribe,
    })
}

fn read_grants(s: &mut Section, problems: &mut Vec<Problem>, key: &str) -> Vec<Grant> {
    let texts = s.texts(problems, key);
    if texts.len() > GRANTS_MAX {
        s.problem(
            problems,
            key,
            format!("{} of them, at most {GRANTS_MAX}", texts.len()),
        );
    }
    let mut grants = Vec::new();
    for text in texts {
        match Grant::parse(&text) {
            Ok(grant) => grants.push(grant),
            Err(what) => s.problem(problems, key, what),
        }
    }
    grants
}
