//! What a node asks when memory has nothing: the key's owner, Redis, the origin.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;
use weir_cache::Entry;
use weir_cache::value::{self, Value};
use weir_core::cache::{self, Exchange, UnixMs};
use weir_core::purge::{Hlc, Verdict};

use super::serving::{Answered, FETCH, PORT, Serving};
use super::world::{Upstream, latency};
use super::{owner, path, resource, tag_of};

/// For an owner to answer.
const OWNER_TIMEOUT: Duration = Duration::from_millis(700);
const ORIGIN_TIMEOUT: Duration = Duration::from_millis(500);
/// To the origin; and the longest that its answer takes.
const ORIGIN_MS: u64 = 60;
const BODY_MS: u64 = 600;
const REDIS_MS: u64 = 20;
const REDIS_WRITE_MS: u64 = 300;

type OriginAnswer = (StatusCode, HeaderMap, Bytes);

/// A question to the origin and its answer.
struct Seen<'a> {
    request: &'a HeaderMap,
    requested_at: UnixMs,
    fetched_at: Hlc,
    answer: OriginAnswer,
}

impl Serving {
    pub(super) async fn ask_owner(&self, key: usize) -> io::Result<Option<Answered>> {
        let asked = async {
            let mut stream = TcpStream::connect((owner(key), PORT)).await?;
            stream.write_u8(key as u8).await?;
            let is_stale = stream.read_u8().await? == 1;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await?;
            let entry = self.decoded(key, &Bytes::from(bytes));
            Ok(entry.map(|entry| Answered { entry, is_stale }))
        };
        timeout(OWNER_TIMEOUT, asked).await?
    }

    fn decoded(&self, key: usize, bytes: &Bytes) -> Option<Arc<Entry>> {
        let resource = resource(key);
        let place = value::key_of(&resource, None);
        let nobody = HeaderMap::new();
        match value::decode(bytes, &place, false, &resource, &nobody, &self.policy) {
            Value::Entry(entry) => Some(self.planted.copied(entry, &self.store, self.now())),
            Value::DependsOn(_) | Value::Unusable(_) => None,
        }
    }

    pub(super) async fn ask_redis(&self, key: usize) -> Option<(Arc<Entry>, Verdict)> {
        let wait = latency(&mut self.random.borrow_mut(), REDIS_MS);
        sleep(wait).await;
        if !self.world.has(self.node, Upstream::Redis) {
            return None;
        }
        let bytes = self.world.get(&value::key_of(&resource(key), None))?;
        let entry = self.decoded(key, &bytes)?;
        let is_trusted = entry.fetched_at >= self.trusts_redis_from;
        match self.store.verdict(&entry) {
            Verdict::Gone => None,
            Verdict::Valid if !is_trusted => Some((entry, Verdict::Unsure)),
            verdict => Some((entry, verdict)),
        }
    }

    fn write_redis(self: &Rc<Self>, entry: &Entry) {
        let Some((place, bytes)) = value::encode(entry) else {
            return;
        };
        let (serving, wait) = (
            Rc::clone(self),
            latency(&mut self.random.borrow_mut(), REDIS_WRITE_MS),
        );
        tokio::task::spawn_local(async move {
            sleep(wait).await;
            if serving.world.has(serving.node, Upstream::Redis) {
                serving.world.put(place, bytes);
            }
        });
    }

    pub(super) async fn ask_origin(
        self: &Rc<Self>,
        key: usize,
        need: Option<(Arc<Entry>, Verdict)>,
    ) -> Option<Answered> {
        let (requested_at, number) = (self.now(), self.recorder.fetches(self.node, key));
        let fetched_at = self.store.fetch_time(requested_at);
        let mut request = HeaderMap::new();
        if let Some((entry, _)) = &need {
            cache::condition(&entry.stored, &mut request);
        }
        let Some(answer) = self.origin(key, number, &request).await else {
            // Whoever cannot ask may serve what says of itself that it is stale.
            let (entry, _) = need?;
            let is_stale = self.store.verdict(&entry) < Verdict::Unsure;
            return is_stale.then(|| Answered::stale(entry));
        };
        let old = need.map(|(entry, _)| entry);
        let seen = Seen {
            request: &request,
            requested_at,
            fetched_at,
            answer,
        };
        let entry = Arc::new(self.made(key, old, seen)?);
        if self.store.insert(&entry, self.now()) {
            self.write_redis(&entry);
        }
        self.planted.inserts(key, &entry);
        Some(Answered::fresh(entry))
    }

    /// An entry of what the origin said.
    fn made(&self, key: usize, old: Option<Arc<Entry>>, seen: Seen<'_>) -> Option<Entry> {
        let (path, (status, response, body)) = (path(key), seen.answer);
        let exchange = Exchange {
            method: &Method::GET,
            path_and_query: &path,
            request: seen.request,
            status,
            response: &response,
            requested_at: seen.requested_at,
            responded_at: self.now(),
        };
        let tags: Box<[u64]> = [tag_of(key)].into();
        match old.filter(|_| status == StatusCode::NOT_MODIFIED) {
            Some(entry) => {
                let renewed = cache::freshen(&entry.stored, &exchange, &self.policy).ok()?;
                Some(entry.renewed(renewed.stored, seen.fetched_at, tags))
            }
            None => {
                let stored = cache::store(&exchange, &self.policy).ok()?;
                let body = [body].into();
                Some(Entry::new(
                    resource(key),
                    stored,
                    seen.fetched_at,
                    tags,
                    body,
                ))
            }
        }
    }

    /// The origin's answer; nothing if it cannot be reached.
    async fn origin(&self, key: usize, number: usize, request: &HeaderMap) -> Option<OriginAnswer> {
        let (there, back) = {
            let mut random = self.random.borrow_mut();
            let back = if random.bool() { ORIGIN_MS } else { BODY_MS };
            (latency(&mut random, ORIGIN_MS), latency(&mut random, back))
        };
        if !self.world.has(self.node, Upstream::Origin) {
            sleep(ORIGIN_TIMEOUT).await;
            return None;
        }
        sleep(there).await;
        let version = self.world.versions()[key].to_string();
        let etag = HeaderValue::from_str(&format!("\"{version}\"")).ok()?;
        let is_same = request.get(IF_NONE_MATCH) == Some(&etag);
        let response = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
            (ETAG, etag),
            (FETCH.clone(), HeaderValue::from(number)),
        ]);
        sleep(back).await;
        Some(match is_same {
            true => (StatusCode::NOT_MODIFIED, response, Bytes::new()),
            false => (StatusCode::OK, response, Bytes::from(version)),
        })
    }
}
