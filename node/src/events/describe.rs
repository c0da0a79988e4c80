//! Events in the words of `weir.node.v1`.

use weir_proto::node::v1 as pb;

use super::{BadCursor, BadKind, Cursor, Event, Events, KEPT_MAX, Page, Wanted};

/// What a reader asks for makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Where it is.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// What it wants.
    #[error(transparent)]
    Kind(#[from] BadKind),
}

/// What a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where it is; `None` for the beginning.
    pub since: Option<Cursor>,
    /// What it wants.
    pub wanted: Wanted,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// [`BadRequest`], with field, value and what is allowed.
    pub fn parse<'a>(
        since: &str,
        kinds: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, BadRequest> {
        Ok(Self {
            since: Cursor::parse(since)?,
            wanted: Wanted::parse(kinds)?,
        })
    }
}

impl Events {
    /// Everything that is kept of what is asked for.
    pub async fn list(&self, asked: &Asked) -> pb::EventList {
        let page = self.read(asked.since.as_ref(), &asked.wanted, KEPT_MAX);
        self.described(&page.await, asked.since.as_ref())
    }

    /// A page for a reader that was there.
    pub fn described(&self, page: &Page, since: Option<&Cursor>) -> pb::EventList {
        pb::EventList {
            events: page.events.iter().map(|event| self.event(event)).collect(),
            missed: page.missed,
            restarted: since.is_some_and(|since| since.epoch != self.epoch()),
            next: self.cursor(page.last_seq).to_string(),
            node: self.node().to_owned(),
        }
    }

    fn event(&self, event: &Event) -> pb::Event {
        let attributes = event.attributes.iter();
        pb::Event {
            seq: event.seq,
            at_unix_ms: event.at_unix_ms,
            kind: event.kind.as_str().to_owned(),
            severity: event.severity.as_str().to_owned(),
            node: self.node().to_owned(),
            subject_kind: event.kind.subject().to_owned(),
            subject: event.subject.clone(),
            attributes: attributes
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            count: event.count,
        }
    }
}
