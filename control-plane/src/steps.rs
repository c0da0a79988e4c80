//! Steps of a profile's way from its write to its nodes, for whoever traces them.
//!
//! A write whose id is 32 hexadecimal digits is a span of a trace of that id (`TraceContext::of_write`), so whoever
//! wrote knows the trace, every instance does, and nothing more is kept in the store.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use weir_core::trace::TraceContext;

/// The write of a profile.
pub const WRITE: &str = "profile.write";
/// A push of it to a node, up to the node's answer.
pub const PUSH: &str = "profile.push";

/// A step that is over.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The step above it.
    pub parent: Option<[u8; 8]>,
    /// [`WRITE`] or [`PUSH`].
    pub name: &'static str,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What is worth knowing of it.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

type Sink = Box<dyn Fn(Step) + Send + Sync>;

/// Where steps are told, if anywhere. Cheap to clone.
#[derive(Clone, Default)]
pub struct Steps(Arc<OnceLock<Sink>>);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&self.is_told()).finish()
    }
}

impl Steps {
    /// Has steps told from now on; `sink` must not wait. Only the first one counts.
    pub fn tell_to(&self, sink: impl Fn(Step) + Send + Sync + 'static) {
        // Whoever starts an instance says so once.
        let _ = self.0.set(Box::new(sink));
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.get().is_some()
    }

    pub(crate) fn tell(&self, step: Step) {
        if let Some(sink) = self.0.get() {
            sink(step);
        }
    }

    /// Where a push to a node belongs that brings what was written; the write itself where nobody is told of pushes.
    pub(crate) fn of_push(&self, write: TraceContext, node: &str, nonce: u64) -> TraceContext {
        if !self.is_told() {
            return write;
        }
        let mut hasher = DefaultHasher::new();
        (write, node, nonce).hash(&mut hasher);
        write.child(&mut fastrand::Rng::with_seed(hasher.finish()))
    }
}
