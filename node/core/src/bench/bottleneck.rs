//! What holds a step up, as far as its latencies and what the node counted meanwhile tell.

use std::time::Duration;

use super::rule::{Step, format_latency};

/// Processors are busy from this share on.
const BUSY_SHARE: f64 = 0.85;
/// So are those of a whole machine, where somebody else may be who is busy: then the node must want them, too.
const MACHINE_BUSY_SHARE: f64 = 0.95;
const WANTED_SHARE: f64 = 0.25;
/// The load generator is late when it begins this much too late, and that is at least half of what is measured.
const LATE: Duration = Duration::from_millis(10);
/// Places are all taken from this share on: arrivals are never even.
const TAKEN_SHARE: f64 = 0.85;
/// A failure in so many requests is worth naming.
const FAILURE_SHARE: f64 = 0.01;

/// What the node counted during a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// How long it was looked at.
    pub elapsed: Duration,
    /// Processor time that it took, in seconds.
    pub cpu_seconds: f64,
    /// Cores that carry its traffic.
    pub cores: u32,
    /// Share of its machine's processors that were busy, 0 to 1, where that is known.
    pub machine_busy: Option<f64>,
    /// Requests that it answered.
    pub requests: f64,
    /// Their times on the node together, in seconds: from the head to the end of the answer.
    pub request_seconds: f64,
    /// Times that it took no new connections because it had as many as it may have.
    pub accept_pauses: f64,
    /// Answers that no connection to a backend was left for, its own limits or those of its file descriptors.
    pub connection_refusals: f64,
    /// Requests given to backends.
    pub backend_requests: f64,
    /// Requests that were with backends at the end.
    pub backend_in_flight: f64,
    /// Requests that backends failed.
    pub backend_failures: f64,
    /// Requests that waited for an engine at the end.
    pub waiting: f64,
    /// Answers because no engine came in time, or too many waited for one.
    pub engine_refusals: f64,
    /// Requests that the cache was asked for.
    pub cache_asked: f64,
    /// Those that it answered without a backend.
    pub cache_hits: f64,
}

impl NodeFacts {
    /// Share of its cores that it used, 0 to 1.
    pub fn cpu_share(&self) -> f64 {
        let available = self.elapsed.as_secs_f64() * f64::from(self.cores.max(1));
        if available > 0.0 {
            self.cpu_seconds / available
        } else {
            0.0
        }
    }

    /// The mean time of a request on the node.
    pub fn mean(&self) -> Duration {
        if self.requests > 0.0 {
            Duration::try_from_secs_f64(self.request_seconds / self.requests).unwrap_or_default()
        } else {
            Duration::ZERO
        }
    }
}

/// What is too small or too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// The program that makes the load.
    Generator,
    /// Processors.
    Cpu,
    /// Connections: of clients, of the node, or to backends.
    Connections,
    /// Requests wait for an engine.
    Queue,
    /// Backends.
    Backend,
    /// The cache lets too much through to backends.
    Cache,
    /// Nothing that is measured tells.
    Unknown,
}

impl Bottleneck {
    /// As people and scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Cpu => "cpu",
            Self::Connections => "connections",
            Self::Queue => "queue",
            Self::Backend => "backend",
            Self::Cache => "cache",
            Self::Unknown => "unknown",
        }
    }
}

/// What holds it up, and what tells so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is.
    pub what: Bottleneck,
    /// What was seen.
    pub why: String,
}

fn verdict(what: Bottleneck, why: impl Into<String>) -> Verdict {
    Verdict {
        what,
        why: why.into(),
    }
}

/// Names the bottleneck of a step. `calm` is the first step, if that is another one.
pub fn name(step: &Step, node: Option<&NodeFacts>, calm: Option<&Step>) -> Verdict {
    let late = step.late.percentile(0.99);
    if late > LATE && late * 2 > step.latency.percentile(0.99) {
        let late = format_latency(late);
        let why = format!("requests began up to {late} late (p99) although places were free");
        return verdict(Bottleneck::Generator, why);
    }
    let Some(node) = node else {
        return of_places(step, calm).unwrap_or_else(|| {
            let why = "nothing is known of the node; --node says where its HTTP API is";
            verdict(Bottleneck::Unknown, why)
        });
    };
    of_node(node)
        .or_else(|| of_places(step, calm))
        .unwrap_or_else(|| of_time(step, node))
}

/// What the node's own counters name.
fn of_node(node: &NodeFacts) -> Option<Verdict> {
    let (used, busy) = (node.cpu_share(), node.machine_busy.unwrap_or(0.0));
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if used >= BUSY_SHARE {
        let why = format!(
            "the node used {} of its {} cores",
            percent(used),
            node.cores
        );
        return Some(verdict(Bottleneck::Cpu, why));
    }
    if busy >= MACHINE_BUSY_SHARE && used >= WANTED_SHARE {
        let (busy, used) = (percent(busy), percent(used));
        let why = format!("its machine was {busy} busy; the node used {used} of its cores");
        return Some(verdict(Bottleneck::Cpu, why));
    }
    if node.waiting + node.engine_refusals > 0.0 {
        let (waiting, refused) = (node.waiting, node.engine_refusals);
        let why = format!("{waiting} requests waited for an engine and {refused} got none");
        return Some(verdict(Bottleneck::Queue, why));
    }
    if node.accept_pauses > 0.0 {
        let why = "the node had as many client connections as it may (ingress.connections_max)";
        return Some(verdict(Bottleneck::Connections, why));
    }
    if node.connection_refusals > 0.0 {
        let refused = node.connection_refusals;
        let why = format!("{refused} requests found no free connection to a backend");
        return Some(verdict(Bottleneck::Connections, why));
    }
    if node.backend_failures > FAILURE_SHARE * node.requests {
        let (failed, of) = (node.backend_failures, node.backend_requests);
        let why = format!("backends failed {failed} of {of} requests");
        return Some(verdict(Bottleneck::Backend, why));
    }
    None
}

/// All places of the load generator are taken, although answers are as quick as they were: there are too few.
fn of_places(step: &Step, calm: Option<&Step>) -> Option<Verdict> {
    let is_as_quick = match calm {
        Some(calm) => step.service.mean() < calm.service.mean() * 2,
        None => true,
    };
    let is_waiting = step.latency.percentile(0.5) > step.service.percentile(0.5) * 2;
    (step.places_taken() >= TAKEN_SHARE && is_waiting && is_as_quick).then(|| {
        let (places, each) = (step.places, format_latency(step.service.mean()));
        let why = format!("all {places} places were taken, each for {each}; --connections adds");
        verdict(Bottleneck::Connections, why)
    })
}

/// Whose the time is.
fn of_time(step: &Step, node: &NodeFacts) -> Verdict {
    let (on_node, in_all) = (node.mean(), step.service.mean());
    let told = format!("{} of {}", format_latency(on_node), format_latency(in_all));
    // The node's mean is that of requests that it has answered: of what still runs it tells too little.
    let are_with_backends = node.backend_in_flight * 2.0 >= f64::from(step.places.max(1));
    if !are_with_backends && (on_node * 2 < in_all || node.requests == 0.0) {
        let why = format!("requests spent {told} on the node; the rest is before it");
        return verdict(Bottleneck::Unknown, why);
    }
    let missed = node.cache_asked - node.cache_hits;
    if node.cache_asked * 2.0 >= node.requests && missed * 2.0 >= node.cache_asked {
        let (missed, asked) = (missed, node.cache_asked);
        let why = format!("{missed} of {asked} requests were not answered from the cache");
        return verdict(Bottleneck::Cache, why);
    }
    if node.backend_requests * 2.0 < node.requests {
        let why = "processors are free, and few requests went to backends";
        return verdict(Bottleneck::Unknown, why);
    }
    let used = node.cpu_share() * 100.0;
    let told = match are_with_backends {
        true => format!(
            "{} requests were with backends at the end",
            node.backend_in_flight
        ),
        false => format!("requests spent {told} on the node"),
    };
    let why = format!("{told}, and the node used {used:.0} % of its cores: it waited for backends");
    verdict(Bottleneck::Backend, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn step(rate: u32, places: u32, service_ms: u64, latency_ms: u64) -> Step {
        let mut step = Step {
            offered: rate,
            due: rate.into(),
            answered: rate.into(),
            elapsed: SECOND,
            places,
            ..Step::default()
        };
        for _ in 0..rate {
            step.service.record(Duration::from_millis(service_ms));
            step.latency.record(Duration::from_millis(latency_ms));
        }
        step
    }

    /// A node that does 100 requests, each for `ms`, with little work.
    fn node(ms: f64) -> NodeFacts {
        NodeFacts {
            elapsed: SECOND,
            cpu_seconds: 0.1,
            cores: 2,
            machine_busy: Some(0.2),
            requests: 100.0,
            request_seconds: ms / 10.0,
            backend_requests: 100.0,
            ..NodeFacts::default()
        }
    }

    fn named(step: &Step, node: &NodeFacts, calm: Option<&Step>) -> Bottleneck {
        name(step, Some(node), calm).what
    }

    #[test]
    fn a_node_that_waits_with_free_processors_waits_for_backends() {
        let (slow, calm) = (step(100, 64, 200, 300), step(10, 64, 10, 10));
        assert_eq!(named(&slow, &node(199.0), Some(&calm)), Bottleneck::Backend);
        let failing = NodeFacts {
            backend_failures: 50.0,
            ..node(1.0)
        };
        assert_eq!(named(&slow, &failing, Some(&calm)), Bottleneck::Backend);
    }

    #[test]
    fn what_has_not_come_back_from_backends_counts_too() {
        let (slow, calm) = (step(40, 64, 1_000, 1_600), step(10, 64, 20, 20));
        let few_ended = node(260.0);
        let still = NodeFacts {
            backend_in_flight: 60.0,
            ..few_ended
        };
        assert_eq!(named(&slow, &few_ended, Some(&calm)), Bottleneck::Unknown);
        assert_eq!(named(&slow, &still, Some(&calm)), Bottleneck::Backend);
    }

    #[test]
    fn busy_processors_come_before_slow_backends() {
        let slow = step(100, 64, 200, 300);
        let busy = NodeFacts {
            cpu_seconds: 1.9,
            ..node(199.0)
        };
        assert_eq!(named(&slow, &busy, None), Bottleneck::Cpu);
        let neighbour = NodeFacts {
            machine_busy: Some(0.99),
            cpu_seconds: 0.6,
            ..node(199.0)
        };
        assert_eq!(named(&slow, &neighbour, None), Bottleneck::Cpu);
        let idle = NodeFacts {
            cpu_seconds: 0.1,
            ..neighbour
        };
        assert_eq!(named(&slow, &idle, None), Bottleneck::Backend);
    }

    #[test]
    fn too_few_places_are_not_the_backends_fault() {
        let (full, calm) = (step(100, 10, 95, 700), step(10, 10, 90, 90));
        assert_eq!(
            named(&full, &node(94.0), Some(&calm)),
            Bottleneck::Connections
        );
        // The same with a backend that was quick before: it is the one that became slow.
        let calm = step(10, 10, 5, 5);
        assert_eq!(named(&full, &node(94.0), Some(&calm)), Bottleneck::Backend);
        assert_eq!(name(&full, None, None).what, Bottleneck::Connections);
    }

    #[test]
    fn limits_of_the_node_are_named_by_its_counters() {
        let any = step(100, 64, 200, 300);
        let full = |facts: NodeFacts| named(&any, &facts, None);
        let with = node(199.0);
        assert_eq!(
            full(NodeFacts {
                accept_pauses: 1.0,
                ..with
            }),
            Bottleneck::Connections
        );
        assert_eq!(
            full(NodeFacts {
                connection_refusals: 1.0,
                ..with
            }),
            Bottleneck::Connections
        );
        assert_eq!(
            full(NodeFacts {
                waiting: 1.0,
                ..with
            }),
            Bottleneck::Queue
        );
        let missing = NodeFacts {
            cache_asked: 100.0,
            cache_hits: 10.0,
            ..with
        };
        assert_eq!(full(missing), Bottleneck::Cache);
        assert_eq!(
            full(NodeFacts {
                cache_hits: 90.0,
                ..missing
            }),
            Bottleneck::Backend
        );
    }

    #[test]
    fn a_late_generator_blames_nobody_else() {
        let mut late = step(100, 64, 200, 300);
        late.late.record(Duration::from_millis(50));
        assert_eq!(named(&late, &node(199.0), None), Bottleneck::Backend);
        late.late.record(Duration::from_millis(200));
        assert_eq!(named(&late, &node(199.0), None), Bottleneck::Generator);
    }

    #[test]
    fn what_is_not_known_is_not_named() {
        let slow = step(100, 64, 200, 300);
        assert_eq!(name(&slow, None, None).what, Bottleneck::Unknown);
        assert_eq!(named(&slow, &node(1.0), None), Bottleneck::Unknown);
    }
}
