//! What everybody who asks is given until it is too old.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_cache::codings::{Level, compress_whole};
use weir_core::content_coding::Coding;
use weir_proto::node::v1 as pb;

use super::Wanted;
use super::merged::Merged;
use crate::telemetry::history::{History, layout};

/// Different questions whose answers are kept as documents.
const DOCUMENTS_MAX: usize = 16;
/// As good as fast compressors get.
const GZIP_LEVEL: Level = Level::new(4);

/// Whose history it tells.
#[derive(Debug)]
pub(super) enum Source {
    /// This node's.
    Own(History),
    /// That of all nodes.
    Merged(Merged),
}

type Made = Arc<OnceCell<Arc<Document>>>;

/// An overview at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// Without history.
    answer: pb::OverviewAnswer,
    /// Those that there were at that time.
    slots: Range<u64>,
    source: Source,
    documents: Mutex<VecDeque<(Wanted, Made)>>,
}

impl Snapshot {
    /// An overview whose history ends with these slots.
    pub(super) fn new(answer: pb::OverviewAnswer, slots: Range<u64>, source: Source) -> Self {
        Self {
            answer,
            slots,
            source,
            documents: Mutex::new(VecDeque::new()),
        }
    }

    /// The answer with the history that is wanted.
    pub(super) fn answer(&self, wanted: Wanted) -> pb::OverviewAnswer {
        let told = |ring: &weir_core::series::Ring, interval_ms| {
            // Whoever merges gets what there is by now: what it has of all ends with the node that is behind most.
            let end = match wanted.buckets {
                true => ring.next_slot(),
                false => self.slots.end,
            };
            let kept = ring.first_slot().min(end)..end;
            layout::told(ring, interval_ms, wanted.among(&kept), wanted.buckets)
        };
        let history = match &self.source {
            Source::Own(history) => history.look(told),
            Source::Merged(merged) => merged.look(told),
        };
        pb::OverviewAnswer {
            history: Some(history),
            ..self.answer.clone()
        }
    }

    /// The same as JSON, made once for everybody who wants the same.
    pub(super) async fn document(self: Arc<Self>, wanted: Wanted) -> Arc<Document> {
        let made = self.made(wanted);
        let make = async || {
            // A large one takes a while.
            let snapshot = Arc::clone(&self);
            let make = move || Document::of(snapshot.answer(wanted));
            Arc::new(tokio::task::spawn_blocking(make).await.unwrap_or_default())
        };
        Arc::clone(made.get_or_init(make).await)
    }

    fn made(&self, wanted: Wanted) -> Made {
        let mut documents = self.documents.lock();
        if let Some((_, made)) = documents.iter().find(|(of, _)| *of == wanted) {
            return Arc::clone(made);
        }
        documents.truncate(DOCUMENTS_MAX - 1);
        let made = Made::default();
        documents.push_front((wanted, Arc::clone(&made)));
        made
    }
}

/// An overview as JSON.
#[derive(Debug, Default)]
pub struct Document {
    /// The document.
    pub json: Bytes,
    /// Says the same to whoever asks again, compressed or not (RFC 9110, section 8.8.1).
    pub etag: String,
    gzip: OnceCell<Option<Bytes>>,
}

impl Document {
    /// What an answer is as JSON.
    pub fn of(answer: pb::OverviewAnswer) -> Self {
        let json = serde_json::to_vec(&answer).expect("plain structs serialise");
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        Self {
            etag: format!("W/\"{:016x}\"", hasher.finish()),
            json: json.into(),
            gzip: OnceCell::new(),
        }
    }

    /// The document compressed; `None` if that does not make it shorter.
    pub async fn gzip(&self) -> Option<Bytes> {
        let make = async || {
            let json = self.json.clone();
            let compress = move || compress_whole(Coding::Gzip, GZIP_LEVEL, &[json]);
            let made = tokio::task::spawn_blocking(compress).await;
            made.ok().and_then(Result::ok).flatten()
        };
        self.gzip.get_or_init(make).await.clone()
    }
}
