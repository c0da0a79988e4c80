//! A message as HTTP brings it: the body is the data, the address says the rest.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use weir_broadcast::Draft;
use weir_core::broadcast::{Class, Content, Refused};

use super::ask::{self, BadAsk};
use super::doors::{Coming, Turned};
use super::opening::Opening;
use super::{Ack, Broadcast};

/// A message without its data.
#[derive(Debug)]
pub(crate) struct Posted {
    draft: Draft,
    ack: Ack,
    opening: Opening,
}

impl Posted {
    /// Reads a request's head; `topic` is in the path where it is not in the query.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not do.
    pub(crate) fn of(
        coming: &Coming,
        headers: &HeaderMap,
        topic: Option<&str>,
    ) -> Result<Self, Turned> {
        let mut named = topic.map(str::to_owned);
        let (mut class, mut ack) = (Class::Stream, Ack::Owner);
        let (mut key, mut idempotency_key) = (String::new(), String::new());
        let mut opening = Opening::of("", None)?;
        for (field, value) in form_urlencoded::parse(coming.query.as_bytes()) {
            match &*field {
                "topic" if named.is_none() => named = Some(value.into_owned()),
                "class" => class = ask::class(&value)?,
                "ack" => ack = ask::ack(&value)?,
                "key" => key = value.into_owned(),
                "idempotency_key" => idempotency_key = value.into_owned(),
                "token" => opening.token = Some(value.into_owned()),
                other => {
                    let what = "is none of topic, class, key, idempotency_key, ack, token";
                    return Err(BadAsk::new(other, what).into());
                }
            }
        }
        let topic = named.ok_or_else(|| BadAsk::new("topic", "is required"))?;
        let draft = Draft {
            class,
            key: key.into(),
            content: content(headers),
            idempotency_key: (!idempotency_key.is_empty()).then(|| idempotency_key.into()),
            ..Draft::new(ask::new_topic(&topic)?, Bytes::new())
        };
        Ok(Self {
            draft,
            ack,
            opening,
        })
    }

    /// A body that is too long.
    pub(crate) const fn too_long(max: usize) -> Turned {
        Turned::Refused(Refused::TooLong {
            field: "data",
            bytes: max + 1,
            max,
        })
    }

    /// A body that takes too long.
    pub(crate) fn too_late(wait: Duration) -> Turned {
        BadAsk::new("data", format!("did not come within {} s", wait.as_secs())).into()
    }

    /// Whether whoever sends it may, before its data are read.
    ///
    /// # Errors
    ///
    /// Why they may not.
    pub(crate) async fn check(&self, broadcast: &Broadcast, coming: &Coming) -> Result<(), Turned> {
        let who = broadcast.who(coming, &self.opening).await?;
        who.may_publish(&self.draft.topic)?;
        let may = broadcast.may_publish_now(Some(&who), coming.peer.ip());
        may.map_err(Turned::TooOften)
    }

    /// Publishes it, once it was checked; what is answered, as JSON.
    ///
    /// # Errors
    ///
    /// Why it is not published.
    pub(crate) async fn publish(
        self,
        broadcast: &Broadcast,
        data: Bytes,
    ) -> Result<String, Turned> {
        let topic = self.draft.topic.clone();
        let draft = Draft { data, ..self.draft };
        let published = broadcast.publish(draft, self.ack).await?;
        let position = published.position;
        let told = serde_json::json!({
            "topic": topic.as_str(),
            "epoch": position.epoch.to_string(),
            "offset": position.offset,
            "duplicate": published.is_duplicate,
        });
        Ok(format!("{told}\n"))
    }
}

/// What the data are, as the client says.
fn content(headers: &HeaderMap) -> Content {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind {
        "application/json" => Content::Json,
        text if text.ends_with("+json") => Content::Json,
        text if text.starts_with("text/") => Content::Text,
        _ => Content::Binary,
    }
}
