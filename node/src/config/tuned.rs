//! Reads knobs: what the file says, what the profile gives, or the default, and keeps who decided.
//!
//! A node supports a knob if reading asks for it, and by nothing else. [`supported`] asks for everything once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use toml::Value as Toml;
use weir_core::ids::ServiceName;
use weir_core::tuning::{Code, Kind, Knob, Problem as KnobProblem, Profile, Ratio, Value};
use weir_core::units::{format_bytes, format_duration, parse_bytes, parse_duration};

use super::kinds::Tuned;
use super::reader::{Problem, Section};
use super::{Config, Given};

/// Knobs of services: there the file, which knows the service, wins over the profile, which does not.
const PER_SERVICE: [&str; 2] = ["upstream", "balancer"];
/// Problems of one profile; a profile that fits no service of thousands would name them all.
const CONTRADICTIONS_MAX: usize = 100;

/// Every section that reading knows, so that it asks for every knob.
const PROBE: &str = "[services.probe.balance]\n[services.probe.sticky]\n[services.probe.health]\n\
                     [services.probe.ejection]\n[services.probe.slow_start]\n\
                     [services.probe.timeouts]\n[services.probe.pool]\n";

/// Who decided a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody: it is the knob's own.
    Default,
    /// The file, or the environment that is laid over it.
    File,
    /// The profile that the control plane gave.
    Profile,
}

impl Source {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Profile => "profile",
        }
    }
}

/// The knobs that a part of this node reads, each with the part.
pub fn supported() -> &'static BTreeMap<&'static str, &'static str> {
    static SUPPORTED: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
        let tree = toml::from_str(PROBE).expect("the probe is TOML");
        let mut problems = Vec::new();
        let probed = Config::read(tree, &Given::default(), &mut problems);
        debug_assert_eq!(problems, [], "the probe has no problems");
        probed.facts.readers
    });
    &SUPPORTED
}

/// What reading asked for and who decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Each knob that was read, and the part that it is for.
    pub(super) readers: BTreeMap<&'static str, &'static str>,
    /// Values that hold for the whole node.
    pub(super) of_node: BTreeMap<&'static str, (Value, Source)>,
    /// Services whose own file section decides.
    pub(super) overridden_by: BTreeMap<&'static str, BTreeSet<ServiceName>>,
    /// What the profile makes impossible.
    pub(super) contradictions: Vec<KnobProblem>,
}

/// A profile and what became of it; shared by all sections of one reading.
#[derive(Debug, Default)]
struct Tuning {
    profile: Arc<Profile>,
    facts: RefCell<Facts>,
}

/// What a section knows of the reading that it belongs to.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    tuning: Rc<Tuning>,
    /// The part that the section is for.
    consumer: &'static str,
    /// The service that the section belongs to.
    service: Option<ServiceName>,
}

impl Reading {
    pub(super) fn new(profile: &Arc<Profile>) -> Self {
        let tuning = Tuning {
            profile: Arc::clone(profile),
            facts: RefCell::default(),
        };
        Self {
            tuning: Rc::new(tuning),
            ..Self::default()
        }
    }

    pub(super) fn into_facts(self) -> Facts {
        self.tuning.facts.take()
    }
}

impl Section {
    /// This section and those in it are for `consumer`.
    pub(super) fn read_by(mut self, consumer: &'static str) -> Self {
        self.reading.consumer = consumer;
        self
    }

    /// This section and those in it belong to a service.
    pub(super) fn of_service(mut self, name: &str) -> Self {
        self.reading.service = Some(name.into());
        self
    }

    /// The value of a knob that the file calls `key`.
    pub(super) fn tuned<T: Tuned>(
        &mut self,
        problems: &mut Vec<Problem>,
        key: &str,
        knob: &'static Knob,
    ) -> T {
        let said = self.said(problems, key, knob);
        T::of(&self.settled(knob, said)).expect("every key is read as what its knob is")
    }

    /// What holds, when the file says `said`.
    pub(super) fn settled(&self, knob: &'static Knob, said: Option<Value>) -> Value {
        let given = self.reading.tuning.profile.get(knob).cloned();
        let mut facts = self.reading.tuning.facts.borrow_mut();
        facts.readers.insert(knob.path, self.reading.consumer);
        if PER_SERVICE.contains(&knob.section()) {
            if let (Some(service), true) = (&self.reading.service, said.is_some()) {
                let services = facts.overridden_by.entry(knob.path).or_default();
                services.insert(service.clone());
            }
            return said.or(given).unwrap_or_else(|| knob.default_value());
        }
        let settled = match (given, said) {
            (Some(given), _) => (given, Source::Profile),
            (None, Some(said)) => (said, Source::File),
            (None, None) => (knob.default_value(), Source::Default),
        };
        facts.of_node.insert(knob.path, settled.clone());
        settled.0
    }

    /// Whether the profile says something of a knob.
    pub(super) fn is_given(&self, knob: &Knob) -> bool {
        self.reading.tuning.profile.get(knob).is_some()
    }

    /// Replaces the value of a knob of the node by what it comes to on this machine.
    pub(super) fn resolved(&self, knob: &'static Knob, value: Value) {
        let mut facts = self.reading.tuning.facts.borrow_mut();
        if let Some(decided) = facts.of_node.get_mut(knob.path) {
            decided.0 = value;
        }
    }

    /// Tells that `key` contradicts another key, which may be the doing of the profile.
    pub(super) fn contradiction(
        &self,
        problems: &mut Vec<Problem>,
        key: &str,
        what: String,
        knobs: [&'static Knob; 2],
    ) {
        let tuning = &self.reading.tuning;
        let set = knobs
            .into_iter()
            .find_map(|knob| Some((knob, tuning.profile.get(knob)?)));
        let mut facts = tuning.facts.borrow_mut();
        if let Some((knob, value)) = set
            && facts.contradictions.len() < CONTRADICTIONS_MAX
        {
            let message = format!("does not go with the file: {} {what}", self.path_of(key));
            let problem = KnobProblem::new(knob.path, Code::Infeasible, message, value.to_string());
            facts.contradictions.push(problem);
        }
        self.problem(problems, key, what);
    }

    /// What the file says, when it is sound.
    fn said(&mut self, problems: &mut Vec<Problem>, key: &str, knob: &Knob) -> Option<Value> {
        let units = (
            parse_duration as fn(&str) -> _,
            format_duration as fn(_) -> _,
        );
        match knob.kind {
            Kind::DurationOrOff(..) if self.says_off(key) => Some(Value::Off),
            Kind::Duration(low, high) | Kind::DurationOrOff(low, high) => self
                .quantity(problems, key, low..=high, units)
                .map(Value::Duration),
            Kind::Bytes(low, high) if matches!(self.table.get(key), Some(Toml::Integer(_))) => {
                let number = self.whole_number(problems, key, low..=high);
                number.map(Value::Bytes)
            }
            Kind::Bytes(low, high) => self
                .quantity(problems, key, low..=high, (parse_bytes, format_bytes))
                .map(Value::Bytes),
            Kind::Count(low, high) => {
                let number = self.whole_number(problems, key, low..=high);
                number.map(Value::Count)
            }
            Kind::Percent(low, high) => self
                .whole_number(problems, key, u64::from(low)..=u64::from(high))
                .and_then(|percent| u32::try_from(percent).ok())
                .map(Value::Percent),
            Kind::Ratio => self
                .share(problems, key)
                .and_then(Ratio::from_f64)
                .map(Value::Ratio),
            Kind::Flag => self.truth(problems, key).map(Value::Flag),
            Kind::Choice(_) => {
                let text = self.text(problems, key)?;
                self.allowed(problems, key, knob, Value::Choice(text))
            }
            Kind::Texts => {
                let texts = self.has(key).then(|| self.texts(problems, key))?;
                self.allowed(problems, key, knob, Value::Texts(texts))
            }
        }
    }

    fn says_off(&mut self, key: &str) -> bool {
        let off = matches!(self.table.get(key), Some(Toml::String(text)) if text == "off");
        if off {
            self.take(key);
        }
        off
    }

    fn allowed(
        &self,
        problems: &mut Vec<Problem>,
        key: &str,
        knob: &Knob,
        value: Value,
    ) -> Option<Value> {
        match knob.check(&value) {
            Ok(()) => Some(value),
            Err(problem) => {
                let what = format!("`{}`: expected {}", problem.value, problem.bound);
                self.problem(problems, key, what);
                None
            }
        }
    }
}
