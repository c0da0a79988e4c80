//! A response on its way into memory, and those who read it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use weir_cache::{self as kept, Broken, Entry, Fill, FillWriter, Landed, Leader};
use weir_core::cache::{self, NotStored, Stored};

use super::super::super::answer::Reason;
use super::super::super::body::ResponseBody;
use super::super::answered::{Answered, Answerer};
use super::super::pieces::Pieces;
use super::{Audience, Fetch, Fetched, content_length, is_of_the_resource};

/// Nobody is told of a short answer before it is whole, for so long: who is told of the head and then of the body
/// writes twice.
const WHOLE_WAIT: Duration = Duration::from_millis(1);
/// Of what is longer, or its length unknown and not there in that time, everybody reads what is there.
const SHORT_BYTES_MAX: u64 = 64 << 10;

/// So often that long is waited for those who are to read a body that turned out not to be kept.
const LET_IN_WAITS_MAX: usize = 200;

struct Inflow<'f> {
    fetch: &'f Fetch,
    body: ResponseBody,
    pieces: Pieces,
    writer: FillWriter,
    /// As long as it may be kept.
    leader: Option<Leader<Reason>>,
    /// Who began the fetch, and what they get.
    untold: Option<(oneshot::Sender<Fetched>, Fetched)>,
}

impl Fetch {
    /// Keeps what comes once it is whole. The audience is given back if it broke off before anybody was told.
    pub(super) async fn fill(
        &self,
        answered: Answered,
        (stored, tags): (Stored, Box<[u64]>),
        audience: Audience,
    ) -> Option<Audience> {
        self.core.parts.cache.fetch_shared(&self.flight_id);
        let (from, fetched_at) = (answered.from, answered.fetched_at);
        let mut inflow = Inflow::begin(self, answered, stored.clone(), audience);
        let came = inflow.run().await;
        let Inflow {
            writer,
            leader,
            untold,
            ..
        } = inflow;
        // What is only passed on ends too when nobody reads it any more.
        if from != Answerer::Origin && (came.is_ok() || leader.is_some()) {
            self.owner_told(came.is_ok());
        }
        if came.is_err() {
            self.core.cache_metrics().fills_broken.increment();
            let ((first, _), leader) = untold.zip(leader)?;
            return Some(Audience { leader, first });
        }
        if let (Some(pieces), Some(leader)) = (writer.finish(), leader) {
            let resource = self.wish.resource(&self.routed);
            let entry = Arc::new(Entry::new(resource, stored, fetched_at, tags, pieces));
            if self.keep(&entry, from, self.core.unix_ms()) {
                self.core.cache_metrics().stores.increment();
            }
            if let Some((first, fetched)) = untold {
                let _ = first.send(fetched);
            }
            leader.land(Landed::Kept(entry)).await;
        }
        None
    }
}

impl<'f> Inflow<'f> {
    fn begin(fetch: &'f Fetch, answered: Answered, stored: Stored, audience: Audience) -> Self {
        let left_out = cache::left_out(&answered.seen(&fetch.wish), &fetch.wish.policy);
        let (head, body) = answered.response.into_parts();
        let writer = Fill::begin(
            stored,
            answered.fetched_at,
            content_length(&head.headers),
            fetch.bytes_max(),
            fetch.core.parts.cache.fills.clone(),
        );
        let coming = |reader| Fetched::Coming(reader, answered.from, left_out);
        let reader = writer.fill().read();
        Self {
            fetch,
            body,
            pieces: Pieces::new(),
            leader: Some(audience.leader),
            untold: reader.map(|reader| (audience.first, coming(reader))),
            writer,
        }
    }

    /// Takes in the whole body.
    async fn run(&mut self) -> Result<(), Broken> {
        let length = self.writer.fill().content_length;
        let is_short = length.is_none_or(|bytes| bytes <= SHORT_BYTES_MAX);
        let mut refused = None;
        if is_short && let Ok(came) = timeout(WHOLE_WAIT, self.take_in()).await {
            refused = came?;
            if refused.is_none() {
                return Ok(());
            }
        }
        self.tell().await;
        if refused.is_some() {
            self.let_in().await;
        }
        loop {
            if let Some(refused) = refused {
                self.let_go(refused);
            }
            refused = self.take_in().await?;
            if refused.is_none() {
                return Ok(());
            }
        }
    }

    /// Waits until those who waited read along: what is only passed on lets nobody in any more.
    async fn let_in(&self) {
        for _ in 0..LET_IN_WAITS_MAX {
            if !self.leader.as_ref().is_some_and(Leader::is_followed) {
                return;
            }
            sleep(WHOLE_WAIT).await;
        }
    }

    /// Takes in pieces until the end, or until what came may not be kept. Goes on where it was dropped in its midst.
    async fn take_in(&mut self) -> Result<Option<kept::Refused>, Broken> {
        while let Some(piece) = self.pieces.next(&mut self.body, &mut self.writer).await {
            if let Err(refused) = self.writer.push(&piece?) {
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// Everybody who waits reads along from now on.
    async fn tell(&mut self) {
        if let (Some(leader), Some((first, fetched))) = (&self.leader, self.untold.take()) {
            let _ = first.send(fetched);
            leader.filling(self.writer.fill()).await;
        }
    }

    /// The rest is forwarded to those who read, and stored for nobody.
    fn let_go(&mut self, refused: kept::Refused) {
        let fetch = self.fetch;
        tracing::debug!(key = fetch.wish.key.as_str(), %refused, "not stored");
        let why = why_let_go(refused);
        fetch.core.cache_metrics().not_stored(why).increment();
        if is_of_the_resource(why) {
            let (store, now) = (&fetch.core.parts.cache, fetch.core.unix_ms());
            store.fetch_solo(&fetch.flight_id, now, why);
        }
        self.writer.let_go();
        self.leader = None;
    }
}

/// Why a body is not kept that has begun to come.
fn why_let_go(refused: kept::Refused) -> NotStored {
    match refused {
        kept::Refused::TooLong { .. } => NotStored::TooLarge,
        kept::Refused::Busy { .. } => NotStored::Busy,
    }
}
