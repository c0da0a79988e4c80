//! What every knob of the node is, and who decided.

use weir_core::ids::ServiceName;
use weir_core::tuning::knobs::ingress;
use weir_core::tuning::{Code, Knob, Problem, Value, all};

use super::Config;
use super::tuned::{Source, supported};

/// One knob as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The knob.
    pub knob: &'static Knob,
    /// Its value; of a knob of services, that of services that do not say otherwise.
    pub value: Value,
    /// Who decided it.
    pub source: Source,
    /// The part of the node that reads it; empty if none does.
    pub consumer: &'static str,
    /// Services whose own file section decides.
    pub overridden_by: Vec<ServiceName>,
    /// The value after the next start, if it differs.
    pub pending: Option<Value>,
}

impl Config {
    /// Every knob there is, section by section.
    pub fn effective(&self) -> Vec<Effective> {
        all().map(|knob| self.effective_of(knob)).collect()
    }

    fn effective_of(&self, knob: &'static Knob) -> Effective {
        let consumer = supported().get(knob.path).copied().unwrap_or_default();
        let given = self.given.profile.get(knob);
        let (value, source) = match (self.facts.of_node.get(knob.path), given) {
            (Some(decided), _) => decided.clone(),
            (None, Some(given)) if !consumer.is_empty() => (given.clone(), Source::Profile),
            (None, _) => (knob.default_value(), Source::Default),
        };
        let overridden_by = self.facts.overridden_by.get(knob.path);
        Effective {
            knob,
            value,
            source,
            consumer,
            overridden_by: overridden_by.into_iter().flatten().cloned().collect(),
            pending: self.pending_of(knob),
        }
    }

    fn pending_of(&self, knob: &Knob) -> Option<Value> {
        match self.workers_wanted == self.node.cores {
            false if knob == &ingress::WORKERS => Some(count(self.workers_wanted)),
            _ => None,
        }
    }

    /// Knobs whose values take effect when the node starts again.
    pub fn pending_restart(&self) -> Vec<&'static str> {
        let pending = |knob: &&'static Knob| self.pending_of(knob).is_some();
        all().filter(pending).map(|knob| knob.path).collect()
    }

    /// Knobs of the profile that no part of this node reads. The others are in force.
    pub fn unsupported(&self) -> Vec<Problem> {
        let unread = |(path, _): &(&'static str, &Value)| !supported().contains_key(path);
        self.given
            .profile
            .iter()
            .filter(unread)
            .map(|(path, value)| {
                let what = "is set, but no part of this node reads it";
                Problem::new(path, Code::Unsupported, what, value.to_string())
            })
            .collect()
    }

    /// Goes on with as many threads as run: what the profile says of them is for the next start.
    pub(crate) fn keep_workers_of(&mut self, running: &Self) {
        if self.node.cores == running.node.cores {
            return;
        }
        self.node.cores = running.node.cores;
        let path = ingress::WORKERS.path;
        if let Some(decided) = running.facts.of_node.get(path) {
            self.facts.of_node.insert(path, decided.clone());
        }
    }
}

pub(super) fn count(number: usize) -> Value {
    Value::Count(u64::try_from(number).unwrap_or(u64::MAX))
}
