//! What publishers and subscribers were told, and what of it cannot be.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use weir_core::broadcast::Position;
use weir_node::broadcast::Broadcast;

use super::{NODES, TOPICS, topic};

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Skips that nobody announced, and answers that did not come first.
    pub(crate) skips: Vec<String>,
    /// An epoch that came after a later one on one connection.
    pub(crate) epochs_back: Vec<String>,
    /// One number for two messages, or two numbers for one.
    pub(crate) doubled: Vec<String>,
    /// Messages by topic, epoch and offset.
    texts: BTreeMap<(usize, u64, u64), String>,
    offsets: BTreeMap<(usize, u64, String), u64>,
    /// Topic, epoch and offset of messages that a second node has, as publishers were told.
    pub(crate) acked: Vec<(usize, u64, u64)>,
    /// Where owners are in the end.
    pub(crate) last: BTreeMap<usize, (u64, u64)>,
    /// Where subscribers are.
    pub(crate) at: BTreeMap<(String, usize), (u64, u64)>,
    /// Messages that subscribers were given.
    pub(crate) given: usize,
    /// Subscribers who came back and were told that nothing is missing, that something is, or that all is new.
    pub(crate) recovered: usize,
    pub(crate) gaps: usize,
    pub(crate) restarted: usize,
}

/// Where hosts write the history. Cheap to clone; all hosts share one thread.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Rc<State>);

#[derive(Default)]
struct State {
    history: RefCell<History>,
    living: RefCell<BTreeMap<&'static str, Broadcast>>,
}

impl Recorder {
    /// The history so far.
    pub(crate) fn history(&self) -> Ref<'_, History> {
        self.0.history.borrow()
    }

    /// Writes something down.
    pub(super) fn note(&self, write: impl FnOnce(&mut History)) {
        write(&mut self.0.history.borrow_mut());
    }

    /// A node works.
    pub(super) fn begins(&self, node: &'static str, broadcast: &Broadcast) {
        let mut living = self.0.living.borrow_mut();
        living.insert(node, broadcast.clone());
    }

    /// Records where every topic is on the node that numbers it.
    pub(crate) fn look(&self) {
        let living = self.0.living.borrow();
        for number in 0..TOPICS {
            let topic = topic(number);
            let owner = living[NODES[0]].mesh().view().owner(&topic).to_owned();
            let position = living[owner.as_str()].topics().position(&topic);
            if let Some(Position { epoch, offset }) = position {
                tracing::debug!(number, owner, offset, "ends");
                self.note(|history| _ = history.last.insert(number, (epoch.0, offset)));
            }
        }
    }
}

impl History {
    /// Somebody knows this message under this number.
    pub(super) fn knows(
        &mut self,
        (topic, epoch, offset): (usize, u64, u64),
        text: &str,
        who: &str,
    ) {
        let first = self.texts.entry((topic, epoch, offset));
        let first = first.or_insert_with(|| text.to_owned());
        if first != text {
            let what = format!("{who}: t.{topic} {epoch:x}-{offset} is {text}, and was {first}");
            self.doubled.push(what);
        }
        let key = (topic, epoch, text.to_owned());
        let before = *self.offsets.entry(key).or_insert(offset);
        if before != offset {
            let what = format!("{who}: t.{topic} {epoch:x}-{offset} is {text}, as {before} is");
            self.doubled.push(what);
        }
    }
}
