//! Steps of a profile's way from its write to its nodes, for whoever traces them.
//!
//! A write whose id is 32 hexadecimal digits is a span of a trace of that id (`TraceContext::of_write`), so whoever
//! wrote knows the trace, every instance does, and nothing more is kept in the store. What was told last is kept in
//! memory, so that it can be asked for without a collector.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;
use weir_core::trace::TraceContext;

/// The command that made a write, from its beginning to its end.
pub const COMMAND: &str = "command";
/// The write of a profile.
pub const WRITE: &str = "profile.write";
/// A push of it to a node, up to the node's answer.
pub const PUSH: &str = "profile.push";

/// Memory for steps that were told, about; the oldest go.
pub const KEPT_BYTES_MAX: usize = 4 << 20;
/// Bytes of each text of a step; what is longer is cut.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// A step that is over.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The step above it.
    pub parent: Option<[u8; 8]>,
    /// [`COMMAND`], [`WRITE`] or [`PUSH`].
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

impl Step {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let attributes = self.attributes.iter_mut();
        attributes.map(|(_, text)| text).chain(&mut self.error)
    }

    /// Cuts what is too long, and counts what is left.
    fn cut(&mut self) -> usize {
        let mut bytes = size_of::<Self>() + self.attributes.len() * size_of::<(&str, String)>();
        for text in self.texts() {
            let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
            text.truncate(
                end.into_iter()
                    .find(|at| text.is_char_boundary(*at))
                    .unwrap_or(0),
            );
            bytes += text.len();
        }
        bytes
    }
}

type Sink = Box<dyn Fn(Step) + Send + Sync>;

/// Where steps are told and kept. Cheap to clone.
#[derive(Clone, Default)]
pub struct Steps(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sink: OnceLock<Sink>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// With their bytes.
    steps: VecDeque<(usize, Step)>,
    bytes: usize,
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_told = self.0.sink.get().is_some();
        f.debug_struct("Steps").field("is_told", &is_told).finish()
    }
}

impl Steps {
    /// Has steps told from now on; `sink` must not wait. Only the first one counts.
    pub fn tell_to(&self, sink: impl Fn(Step) + Send + Sync + 'static) {
        // Whoever starts an instance says so once.
        let _ = self.0.sink.set(Box::new(sink));
    }

    pub(crate) fn tell(&self, mut step: Step) {
        let bytes = step.cut();
        if let Some(sink) = self.0.sink.get() {
            sink(step.clone());
        }
        let mut kept = self.0.kept.lock();
        kept.bytes += bytes;
        kept.steps.push_back((bytes, step));
        while kept.bytes > KEPT_BYTES_MAX
            && let Some((bytes, _)) = kept.steps.pop_front()
        {
            kept.bytes -= bytes;
        }
    }

    /// What is kept of a trace, the oldest first.
    pub(crate) fn of_trace(&self, trace_id: [u8; 16]) -> Vec<Step> {
        let kept = self.0.kept.lock();
        let steps = kept.steps.iter().map(|(_, step)| step);
        let of_trace = steps.filter(|step| step.context.trace_id == trace_id);
        of_trace.cloned().collect()
    }

    /// Where a push to a node belongs that brings what was written.
    pub(crate) fn of_push(write: TraceContext, node: &str, nonce: u64) -> TraceContext {
        let mut hasher = DefaultHasher::new();
        (write, node, nonce).hash(&mut hasher);
        write.child(&mut fastrand::Rng::with_seed(hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(trace: u8, text: &str) -> Step {
        let now = Instant::now();
        Step {
            context: TraceContext::of_write(&format!("{trace:02x}").repeat(16)).unwrap(),
            parent: None,
            name: WRITE,
            begun: now,
            ended: now,
            attributes: vec![("weir.profile.scope", text.to_owned())],
            error: Some(text.to_owned()),
        }
    }

    #[test]
    fn steps_of_a_trace_are_kept_until_there_are_too_many_bytes() {
        let steps = Steps::default();
        let (one, two) = (step(1, "a"), step(2, "é".repeat(5_000).as_str()));
        steps.tell(one.clone());
        steps.tell(two.clone());
        assert_eq!(steps.of_trace(one.context.trace_id).len(), 1);
        let told = steps.of_trace(two.context.trace_id);
        assert_eq!(told[0].error, Some("é".repeat(TEXT_BYTES_MAX / 2)));
        for _ in 0..KEPT_BYTES_MAX / TEXT_BYTES_MAX / 2 {
            steps.tell(two.clone());
        }
        assert!(steps.0.kept.lock().bytes <= KEPT_BYTES_MAX);
        assert_eq!(steps.of_trace(one.context.trace_id).len(), 0);
        assert!(steps.of_trace(two.context.trace_id).len() > 1_000);
    }

    #[test]
    fn whoever_is_told_is_told_what_is_kept() {
        let (steps, told) = (Steps::default(), Arc::new(Mutex::new(Vec::new())));
        let sink = Arc::clone(&told);
        steps.tell_to(move |step| sink.lock().push(step.name));
        steps.tell(step(1, "a"));
        assert_eq!(*told.lock(), [WRITE]);
    }
}
