//! Random transactions, beside a model that is too simple to be wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weir_control_plane::store::{
    Compare, Entry, Event, EventKind, List, Op, OpResult, Revision, Txn, TxnOutcome,
};

use crate::support::{Shared, next_change, watch};

const TXNS: usize = 400;
const CHECK_EVERY: usize = 20;

/// The whole store: what is there at each revision, and what happened in it.
struct Model {
    states: Vec<BTreeMap<Bytes, Entry>>,
    history: Vec<(Revision, Vec<Event>)>,
}

impl Model {
    fn new() -> Self {
        Self {
            // At revisions 0, which nobody sees, and 1.
            states: vec![BTreeMap::new(); 2],
            history: Vec::new(),
        }
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    fn txn(&mut self, txn: &Txn) -> TxnOutcome {
        let mut state = self.states.last().unwrap().clone();
        let succeeded = txn.when.iter().all(|compare| {
            let found = state.get(compare.key());
            match compare {
                Compare::Exists(_) => found.is_some(),
                Compare::Absent(_) => found.is_none(),
                Compare::ModRevision(_, at) => found.map_or(0, |e| e.mod_revision.0) == at.0,
                Compare::CreateRevision(_, at) => found.map_or(0, |e| e.create_revision.0) == at.0,
                Compare::Value(_, value) => found.is_some_and(|e| e.value == *value),
            }
        });
        let at = self.revision().next();
        let (mut results, mut events) = (Vec::new(), Vec::new());
        for op in if succeeded { &txn.then } else { &txn.or_else } {
            let previous = state.get(op.key()).cloned();
            let mut note = |kind| {
                let key = op.key().clone();
                let previous = previous.clone();
                events.push(Event {
                    key,
                    kind,
                    previous,
                });
            };
            results.push(match op {
                Op::Get(_) => OpResult::Got(previous),
                Op::Delete(key) => {
                    let existed = state.remove(key).is_some();
                    if existed {
                        note(EventKind::Deleted);
                    }
                    OpResult::Deleted(existed)
                }
                Op::Put { key, value, lease } => {
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: previous.as_ref().map_or(at, |e| e.create_revision),
                        mod_revision: at,
                        version: previous.as_ref().map_or(1, |e| e.version + 1),
                        lease: *lease,
                    };
                    state.insert(key.clone(), entry.clone());
                    note(EventKind::Put(entry));
                    OpResult::Put
                }
            });
        }
        if !events.is_empty() {
            self.states.push(state);
            self.history.push((at, events));
        }
        TxnOutcome {
            succeeded,
            revision: self.revision(),
            results,
        }
    }
}

/// Few keys, so that they meet; some are prefixes of others, some are not text.
fn key() -> impl Strategy<Value = Bytes> {
    let keys: [&'static [u8]; 8] = [
        b"a",
        b"a/",
        b"a/b",
        b"a/c",
        b"b",
        b"\0",
        b"\xff",
        b"\xff\xff",
    ];
    prop::sample::select(keys.to_vec()).prop_map(Bytes::from_static)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(&["", "x", "y"][..]).prop_map(|text| Bytes::from_static(text.as_bytes()))
}

fn compare(newest: u64) -> impl Strategy<Value = Compare> {
    let at = (newest.saturating_sub(6)..=newest).prop_map(Revision);
    let at = prop_oneof![1 => Just(Revision(0)), 4 => at];
    prop_oneof![
        key().prop_map(Compare::Exists),
        key().prop_map(Compare::Absent),
        (key(), at.clone()).prop_map(|(key, at)| Compare::ModRevision(key, at)),
        (key(), at).prop_map(|(key, at)| Compare::CreateRevision(key, at)),
        (key(), value()).prop_map(|(key, value)| Compare::Value(key, value)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let put = (key(), value()).prop_map(|(key, value)| {
        let lease = None;
        Op::Put { key, value, lease }
    });
    prop_oneof![4 => put, 2 => key().prop_map(Op::Delete), 1 => key().prop_map(Op::Get)]
}

/// Each key written at most once, as the limits have it.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 0..6).prop_map(|mut ops| {
        let mut written = Vec::new();
        ops.retain(|op| {
            if matches!(op, Op::Get(_)) {
                return true;
            }
            let is_first = !written.contains(op.key());
            written.push(op.key().clone());
            is_first
        });
        ops
    })
}

fn txn(newest: u64) -> impl Strategy<Value = Txn> {
    let when = prop::collection::vec(compare(newest), 0..3);
    (when, ops(), ops()).prop_map(|(when, then, or_else)| Txn {
        when,
        then,
        or_else,
    })
}

fn runner() -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

fn draw<T>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

pub(crate) async fn random_transactions_do_what_the_model_does(store: Shared) {
    let mut model = Model::new();
    let mut runner = runner();
    let mut live = watch(&store, "", Revision(2)).await;
    for count in 0..TXNS {
        let txn = draw(&mut runner, &txn(model.revision().0));
        let outcome = store.txn(txn.clone()).await.unwrap();
        assert_eq!(outcome, model.txn(&txn), "{txn:?}");
        if count % CHECK_EVERY == 0 {
            check_lists(&store, &model, &mut runner).await;
        }
    }
    for expected in &model.history {
        assert_eq!(next_change(&mut live).await.as_ref(), Ok(expected));
    }
    check_late_watch(&store, &model).await;
}

/// Lists some prefix, in small pages, now and at a revision of the past.
async fn check_lists(store: &Shared, model: &Model, runner: &mut TestRunner) {
    let newest = model.revision();
    for at in [newest, Revision(draw(runner, &(1..=newest.0)))] {
        let prefix = draw(runner, &prop_oneof![Just(Bytes::new()), key()]);
        let mut list = List {
            prefix: prefix.clone(),
            after: None,
            at: Some(at),
            entries_max: draw(runner, &(1..4_usize)),
        };
        let mut found = Vec::new();
        loop {
            let page = store.list(list.clone()).await.unwrap();
            assert_eq!(page.revision, newest);
            assert!(page.entries.len() <= list.entries_max);
            list.after = page.entries.last().map(|entry| entry.key.clone());
            found.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let state = &model.states[usize::try_from(at.0).unwrap()];
        let expected = state
            .values()
            .filter(|entry| entry.key.starts_with(&prefix));
        assert_eq!(found, expected.cloned().collect::<Vec<_>>(), "at {at}");
    }
}

/// A watch that begins in the past tells the same, below its prefix.
async fn check_late_watch(store: &Shared, model: &Model) {
    let from = Revision(model.revision().0 / 2);
    let mut late = watch(store, "a/", from).await;
    for (revision, events) in model.history.iter().filter(|(at, _)| *at >= from) {
        let below = events.iter().filter(|event| event.key.starts_with(b"a/"));
        let below: Vec<_> = below.cloned().collect();
        if !below.is_empty() {
            assert_eq!(next_change(&mut late).await, Ok((*revision, below)));
        }
    }
}
