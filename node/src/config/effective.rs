//! What every knob of the node is, and who decided.

use weir_core::ids::ServiceName;
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
}
