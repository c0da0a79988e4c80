//! A fetch for the cache. It belongs to its core: clients that leave do not end it.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures::future::poll_fn;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_cache::{Broken, Entry, Fill, FillReader, FillWriter, Landed, Leader};
use weir_core::cache::{self, Exchange as Seen, Failure, Fallback, NotStored, Stored, UnixMs};
use weir_core::purge::Hlc;

use super::super::answer::Reason;
use super::super::body::ResponseBody;
use super::super::core::Core;
use super::super::exchange::Exchange;
use super::super::forward;
use super::super::request::Routed;
use super::wish::Wish;
use crate::config::Ingress;

/// What is fetched, and what for.
pub(super) struct Fetch {
    pub(super) core: Rc<Core>,
    pub(super) limits: Arc<Ingress>,
    pub(super) routed: Routed,
    pub(super) wish: Rc<Wish>,
    /// What is kept and stale, and how far it may help.
    pub(super) stale: Option<(Arc<Entry>, Fallback)>,
    pub(super) flight_id: Vec<u8>,
}

/// What the one who began the fetch gets.
pub(super) enum Fetched {
    /// A response that is being stored.
    Coming(FillReader),
    /// The stored response, which is still good.
    Renewed(Arc<Entry>),
    /// The stored response, because the origin failed.
    Stale(Arc<Entry>),
    /// A response that is not stored, and why.
    Own(Box<Response<ResponseBody>>, NotStored),
    /// No response.
    Failed(Reason),
}

/// An answer of the origin.
struct Answered {
    response: Response<ResponseBody>,
    /// As they were sent.
    request: HeaderMap,
    target: String,
    requested_at: UnixMs,
    responded_at: UnixMs,
    fetched_at: Hlc,
}

impl Answered {
    fn seen(&self) -> Seen<'_> {
        Seen {
            method: &Method::GET,
            path_and_query: &self.target,
            request: &self.request,
            status: self.response.status(),
            response: self.response.headers(),
            requested_at: self.requested_at,
            responded_at: self.responded_at,
        }
    }
}

impl Fetch {
    /// Fetches, tells `first` and everybody who follows, and reads the body to its end.
    pub(super) async fn run(self, leader: Leader<Reason>, first: oneshot::Sender<Fetched>) {
        match self.answered().await {
            Ok(answered) => self.take(answered, leader, first).await,
            Err(reason) => {
                let now = self.core.unix_ms();
                match self.fallback(Failure::Disconnected, now) {
                    Some(entry) => keep(leader, first, Fetched::Stale(Arc::clone(&entry)), entry),
                    None => {
                        leader.land(Landed::Failed(reason));
                        let _ = first.send(Fetched::Failed(reason));
                    }
                }
            }
        }
    }

    fn fallback(&self, failure: Failure, now: UnixMs) -> Option<Arc<Entry>> {
        let (entry, fallback) = self.stale.as_ref()?;
        fallback.allows(failure, now).then(|| Arc::clone(entry))
    }

    /// Asks the origin, with conditions if there is something to validate.
    async fn answered(&self) -> Result<Answered, Reason> {
        let stored = self
            .stale
            .as_ref()
            .filter(|(_, fallback)| fallback.conditional);
        let answered = self.ask(stored.map(|(entry, _)| &entry.stored)).await?;
        let Some((entry, _)) =
            stored.filter(|_| answered.response.status() == StatusCode::NOT_MODIFIED)
        else {
            return Ok(answered);
        };
        // Whether the 304 is about another response is looked at twice: here, because then it has to be asked again.
        match cache::freshen(&entry.stored, &answered.seen(), &self.wish.policy) {
            Ok(_) => Ok(answered),
            Err(cache::NotSelected) => self.ask(None).await,
        }
    }

    async fn ask(&self, stored: Option<&Stored>) -> Result<Answered, Reason> {
        let mut headers = HeaderMap::clone(&self.wish.headers);
        cache::uncondition(&mut headers);
        if let Some(stored) = stored {
            cache::condition(stored, &mut headers);
        }
        let started = Instant::now();
        let requested_at = self.core.unix_ms();
        let fetched_at = self.core.parts.cache.fetch_time(requested_at);
        let mut exchange = Exchange::begin_for_cache(&self.core, started);
        exchange.trace =
            super::super::request::continue_trace(&self.core, &headers, &self.wish.target, started);
        let mut request = Request::new(None);
        *request.uri_mut() = Uri::from(self.wish.target.clone());
        request.headers_mut().clone_from(&headers);
        let response = forward::forward(
            &self.core,
            &self.limits,
            &self.routed,
            request,
            exchange,
            None,
        )
        .await;
        let response = response.map_err(|refused| refused.reason)?;
        Ok(Answered {
            response,
            request: headers,
            target: self.wish.target.as_str().to_owned(),
            requested_at,
            responded_at: self.core.unix_ms(),
            fetched_at,
        })
    }

    async fn take(
        self,
        answered: Answered,
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let now = answered.responded_at;
        let status = answered.response.status();
        if let Some(entry) = self.fallback(Failure::Status(status), now) {
            return keep(leader, first, Fetched::Stale(Arc::clone(&entry)), entry);
        }
        if let Some(entry) = self.renewed(&answered, now) {
            return keep(leader, first, Fetched::Renewed(Arc::clone(&entry)), entry);
        }
        match self.storable(&answered) {
            Ok(stored) => self.fill(answered, stored, leader, first).await,
            Err(why) => {
                if is_of_the_resource(why) {
                    self.core.parts.cache.fetch_solo(&self.flight_id, now);
                }
                self.core.cache_metrics().not_stored(why).increment();
                leader.land(Landed::Unshared);
                let _ = first.send(Fetched::Own(Box::new(answered.response), why));
            }
        }
    }

    fn renewed(&self, answered: &Answered, now: UnixMs) -> Option<Arc<Entry>> {
        let (entry, _) = self.stale.as_ref()?;
        if answered.response.status() != StatusCode::NOT_MODIFIED {
            return None;
        }
        let renewed = cache::freshen(&entry.stored, &answered.seen(), &self.wish.policy).ok()?;
        let (may_keep, drops_older) = (renewed.may_keep, renewed.drops_older());
        let renewed = Arc::new(entry.renewed(renewed.stored, answered.fetched_at));
        let store = &self.core.parts.cache;
        match may_keep {
            Ok(()) => {
                store.insert(&renewed, now);
            }
            Err(why) => {
                self.core.cache_metrics().not_stored(why).increment();
                if drops_older {
                    store.remove(self.wish.key.as_str());
                }
            }
        }
        Some(renewed)
    }

    fn storable(&self, answered: &Answered) -> Result<Stored, NotStored> {
        let stored = cache::store(&answered.seen(), &self.wish.policy)?;
        let length = content_length(answered.response.headers());
        if length.is_some_and(|length| length > self.bytes_max()) {
            return Err(NotStored::TooLarge);
        }
        Ok(stored)
    }

    fn bytes_max(&self) -> u64 {
        self.wish
            .policy
            .body_bytes_max
            .min(self.core.parts.cache.entry_bytes_max())
    }

    async fn fill(
        self,
        answered: Answered,
        stored: Stored,
        leader: Leader<Reason>,
        first: oneshot::Sender<Fetched>,
    ) {
        let store = &self.core.parts.cache;
        store.fetch_shared(&self.flight_id);
        let (head, mut body) = answered.response.into_parts();
        let length = content_length(&head.headers);
        let mut writer = Fill::begin(
            stored.clone(),
            length,
            self.bytes_max(),
            store.fills.clone(),
        );
        leader.filling(writer.fill());
        if let Some(reader) = writer.fill().read() {
            let _ = first.send(Fetched::Coming(reader));
        }
        let mut leader = Some(leader);
        while let Some(piece) = next_piece(&mut body, &mut writer).await {
            let Ok(piece) = piece else {
                self.core.cache_metrics().fills_broken.increment();
                return;
            };
            if let Err(refused) = writer.push(&piece) {
                // Forwarded whole to those who read, and stored for nobody.
                tracing::debug!(key = self.wish.key.as_str(), %refused, "not stored");
                self.core
                    .cache_metrics()
                    .not_stored(NotStored::TooLarge)
                    .increment();
                store.fetch_solo(&self.flight_id, self.core.unix_ms());
                writer.let_go();
                leader = None;
            }
        }
        if let (Some(pieces), Some(leader)) = (writer.finish(), leader) {
            let tags = Box::default();
            let resource = self.wish.resource(&self.routed);
            let entry = Arc::new(Entry::new(
                resource,
                stored,
                answered.fetched_at,
                tags,
                pieces,
            ));
            if store.insert(&entry, self.core.unix_ms()) {
                self.core.cache_metrics().stores.increment();
            }
            leader.land(Landed::Kept(entry));
        }
    }
}

/// A kept response for everybody.
fn keep(
    leader: Leader<Reason>,
    first: oneshot::Sender<Fetched>,
    fetched: Fetched,
    entry: Arc<Entry>,
) {
    leader.land(Landed::Kept(entry));
    let _ = first.send(fetched);
}

/// Whether nobody else would get a response that is stored either.
fn is_of_the_resource(why: NotStored) -> bool {
    !matches!(
        why,
        NotStored::RequestNoStore | NotStored::Method | NotStored::Head
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The next piece of the body, once there is room for it; `None` after the last one.
async fn next_piece(
    body: &mut ResponseBody,
    writer: &mut FillWriter,
) -> Option<Result<bytes::Bytes, Broken>> {
    loop {
        if poll_fn(|cx| writer.poll_room(cx)).await.is_err() {
            return Some(Err(Broken));
        }
        let frame = poll_fn(|cx| match std::pin::Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => Poll::Pending,
        });
        match frame.await? {
            // Trailers are not stored (RFC 9111 section 3).
            Ok(frame) => match frame.into_data() {
                Ok(piece) => return Some(Ok(piece)),
                Err(_) => continue,
            },
            Err(_) => return Some(Err(Broken)),
        }
    }
}
