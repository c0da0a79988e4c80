//! What a running node cannot change: a file that does is refused, what is given waits for the next start.

use weir_core::tuning::knobs::ingress::WORKERS;
use weir_core::tuning::{Knob, Value, all};

use super::{Config, Problem};

impl Config {
    /// What a file may not change, compared with the configuration that runs.
    pub fn needs_restart(&self, running: &Self) -> Vec<Problem> {
        // What the profile says of threads waits for the next start; a file that did not change does too.
        let workers = match self.workers_wanted == running.workers_wanted || self.is_given_workers()
        {
            true => running.node.cores,
            false => self.workers_wanted,
        };
        let new = self.fixed_while_running(workers);
        let old = running.fixed_while_running(running.node.cores);
        let mut problems = Vec::new();
        for ((path, new), (_, old)) in new.into_iter().zip(old) {
            if new == old {
                problems.extend(self.has_no_effect(path, running));
            } else {
                let what = format!("{new} needs a restart of the node (running with {old})");
                let path = path.to_owned();
                problems.push(Problem { path, what });
            }
        }
        problems
    }

    /// What the file says anew below a path although the environment wins there: it looks as if it were in force.
    fn has_no_effect(&self, path: &str, running: &Self) -> impl Iterator<Item = Problem> {
        let is_below = move |key: &str| {
            let rest = key.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let found = self.overridden.iter().filter(move |(key, _)| is_below(key));
        let new = found.filter(|(key, found)| running.overridden.get(*key) != Some(found));
        new.map(|(key, found)| Problem {
            path: key.clone(),
            what: format!(
                "{} has no effect: it needs a restart of the node, and {} says {} whatever the file says",
                found.of_file, found.variable, found.says
            ),
        })
    }

    /// Each key that only a start reads, with its value for people.
    fn fixed_while_running(&self, workers: usize) -> [(&'static str, String); 19] {
        let (node, control_plane) = (&self.node, &self.control_plane);
        [
            ("mesh.nodes", node.mesh_nodes.to_string()),
            ("node.name", node.name.clone()),
            ("node.cores", workers.to_string()),
            ("node.data_dir", shown(&node.data_dir)),
            ("node.labels", format!("{:?}", node.labels)),
            ("ingress.listen", format!("{:?}", self.ingress.listen)),
            ("ingress.advertise", format!("{:?}", self.ingress.advertise)),
            ("grpc.listen", self.grpc.listen.to_string()),
            ("grpc.advertise", format!("{:?}", self.grpc.advertise)),
            ("http_api.listen", self.http_api.listen.to_string()),
            ("telemetry.otlp", format!("{:?}", self.telemetry.otlp)),
            ("logs", format!("{:?}", self.logs)),
            (
                "control_plane.endpoints",
                format!("{:?}", control_plane.endpoints),
            ),
            ("control_plane.token", shown(&control_plane.token)),
            ("control_plane.ca", shown(&control_plane.ca)),
            ("control_plane.cert", shown(&control_plane.cert)),
            ("control_plane.key", shown(&control_plane.key)),
            ("peers.token", shown(&self.peers_token)),
            (
                "provision.docker_socket",
                self.provision.docker_socket.clone(),
            ),
        ]
    }

    fn is_given_workers(&self) -> bool {
        self.given.profile.get(&WORKERS).is_some()
    }

    pub(super) fn pending_of(&self, knob: &Knob) -> Option<Value> {
        match self.workers_wanted == self.node.cores {
            false if knob == &WORKERS => Some(count(self.workers_wanted)),
            _ => None,
        }
    }

    /// Knobs whose values take effect when the node starts again.
    pub fn pending_restart(&self) -> Vec<&'static str> {
        let pending = |knob: &&'static Knob| self.pending_of(knob).is_some();
        all().filter(pending).map(|knob| knob.path).collect()
    }

    /// Goes on with as many threads as run: what the profile says of them is for the next start.
    pub(crate) fn keep_workers_of(&mut self, running: &Self) {
        if self.node.cores == running.node.cores {
            return;
        }
        self.node.cores = running.node.cores;
        let path = WORKERS.path;
        if let Some(decided) = running.facts.of_node.get(path) {
            self.facts.of_node.insert(path, decided.clone());
        }
    }
}

pub(super) fn count(number: usize) -> Value {
    Value::Count(u64::try_from(number).unwrap_or(u64::MAX))
}

fn shown<T: std::fmt::Debug>(value: &Option<T>) -> String {
    value
        .as_ref()
        .map_or_else(|| "none".to_owned(), |value| format!("{value:?}"))
}
