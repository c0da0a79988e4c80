//! What a client asks for in the address that it calls: all that a browser's `EventSource` can say.

use std::sync::Arc;
use std::time::Duration;

use weir_broadcast::Since;
use weir_core::broadcast::{Pattern, Position, Positions, TopicName};
use weir_core::text::is_printable;
use weir_core::units::parse_duration;

use super::ask::{self, BadAsk};

/// Bytes of the longest name of a client.
const NAME_BYTES_MAX: usize = 64;
/// How long a long poll waits unless it says so, and at most.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Deliveries of one answer to a poll unless it says so, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What a client asks for in the address that it calls.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Topics, and from where.
    pub topics: Vec<(TopicName, Since)>,
    /// Patterns, from now on but for topics with a position.
    pub patterns: Vec<Pattern>,
    /// Topics that its patterns take, and where it was in them.
    pub matched: Vec<(TopicName, Position)>,
    /// Where it was, as it was told in the last event.
    pub positions: Positions,
    /// Who it says that it is.
    pub name: Option<Arc<str>>,
    /// What shows who it is.
    pub token: Option<String>,
    /// How long a poll waits.
    pub wait: Duration,
    /// Deliveries of one answer to a poll.
    pub limit: usize,
}

impl Opening {
    /// Reads a query; `last_event_id` is where an event stream was.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub fn of(query: &str, last_event_id: Option<&str>) -> Result<Self, BadAsk> {
        let mut opening = Self {
            topics: Vec::new(),
            patterns: Vec::new(),
            matched: Vec::new(),
            positions: Positions::default(),
            name: None,
            token: None,
            wait: WAIT_DEFAULT,
            limit: LIMIT_DEFAULT,
        };
        let mut since = String::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "topic" => opening.topics.push((ask::any_topic(&value)?, Since::Now)),
                "pattern" => opening
                    .patterns
                    .extend(ask::patterns(&[value.into_owned()])?),
                "since" if since.is_empty() => since = value.into_owned(),
                "since" => since = format!("{since},{value}"),
                "name" => opening.name = Some(name(&value)?),
                "token" => opening.token = Some(value.into_owned()),
                "wait" => opening.wait = wait(&value)?,
                "limit" => opening.limit = limit(&value)?,
                other => {
                    let what = "is none of topic, pattern, since, name, token, wait, limit";
                    return Err(BadAsk::new(other, what));
                }
            }
        }
        // What a browser comes back with is newer than the address that it calls.
        let since = last_event_id.filter(|id| !id.is_empty()).unwrap_or(&since);
        opening.begin(since)?;
        Ok(opening)
    }

    /// Neither topics nor patterns.
    pub(super) fn asks_for_nothing(&self) -> bool {
        self.topics.is_empty() && self.patterns.is_empty()
    }

    /// From where: one place for all topics, or one for each.
    fn begin(&mut self, since: &str) -> Result<(), BadAsk> {
        if !since.contains(['@', '~']) {
            let since = ask::since(since)?;
            self.topics.iter_mut().for_each(|(_, at)| *at = since);
            return Ok(());
        }
        let positions = since.parse::<Positions>();
        self.positions = positions.map_err(|error| BadAsk::new("since", error))?;
        for (topic, since) in &mut self.topics {
            if let Some(position) = self.positions.get(topic) {
                *since = Since::Position(position);
            }
        }
        for (topic, position) in self.positions.iter() {
            let named = self.topics.iter().any(|(named, _)| named == topic);
            if !named && self.patterns.iter().any(|pattern| pattern.takes(topic)) {
                self.matched.push((topic.clone(), position));
            }
        }
        Ok(())
    }
}

fn name(text: &str) -> Result<Arc<str>, BadAsk> {
    let sound = !text.is_empty() && text.len() <= NAME_BYTES_MAX && is_printable(text);
    match sound && !text.contains('@') {
        true => Ok(text.into()),
        false => {
            let what = format!("has to be 1 to {NAME_BYTES_MAX} bytes that print, without @");
            Err(BadAsk::new("name", what))
        }
    }
}

fn wait(text: &str) -> Result<Duration, BadAsk> {
    let wait = parse_duration(text).map_err(|error| BadAsk::new("wait", error))?;
    match wait <= WAIT_MAX {
        true => Ok(wait),
        false => {
            let what = format!("{text} is more than {} s", WAIT_MAX.as_secs());
            Err(BadAsk::new("wait", what))
        }
    }
}

fn limit(text: &str) -> Result<usize, BadAsk> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| BadAsk::new("limit", format!("`{text}` is not from 1 to {LIMIT_MAX}")))
}
