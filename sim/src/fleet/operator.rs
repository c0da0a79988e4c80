//! An operator of a fleet: changes profiles and weights through any instance, and looks at nodes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::nodes_client::NodesClient;
use weir_proto::control::v1::profiles_client::ProfilesClient;
use weir_proto::control::v1::weights_client::WeightsClient;

use super::history::{Outcome, Recorder, Write};
use super::hosts::PORT;
use super::{BACKENDS, CONTESTED, INSTANCES, LAYERS, Layer, NODES, SERVICE};
use crate::history::now;
use crate::net::channel;

/// How long one call may take; an instance itself gives up a write after some six seconds.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// The wait before a write whose fate is not known is sent again.
const AGAIN_MS: std::ops::Range<u64> = 100..1_000;
/// Tries of one write.
const TRIES: usize = 60;
/// Between two changes.
const REST_MS: std::ops::Range<u64> = 200..3_000;
const TTL_MS: std::ops::Range<u64> = 2_000..20_000;
/// How often everybody is asked who is there.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// The ways to one instance.
#[derive(Clone)]
struct Instance {
    name: &'static str,
    profiles: ProfilesClient<Channel>,
    weights: WeightsClient<Channel>,
    nodes: NodesClient<Channel>,
}

/// An operator.
pub(crate) struct Operator {
    name: &'static str,
    instances: Vec<Instance>,
    random: RefCell<fastrand::Rng>,
    /// The newest revision of each scope, as far as it is known here.
    known: RefCell<BTreeMap<String, u64>>,
    /// What all operators write is different.
    next: Rc<Cell<u64>>,
    recorder: Recorder,
}

impl Operator {
    /// One who shares `next` with the others.
    pub(crate) fn new(
        name: &'static str,
        seed: u64,
        next: &Rc<Cell<u64>>,
        recorder: &Recorder,
    ) -> Self {
        let instances = INSTANCES.map(|name| {
            let channel = channel(name, PORT);
            Instance {
                name,
                profiles: ProfilesClient::new(channel.clone()),
                weights: WeightsClient::new(channel.clone()),
                nodes: NodesClient::new(channel),
            }
        });
        Self {
            name,
            instances: instances.to_vec(),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            known: RefCell::default(),
            next: Rc::clone(next),
            recorder: recorder.clone(),
        }
    }

    /// Changes something, again and again, until `stop`.
    pub(crate) async fn work(&self, stop: Duration) {
        while now() < stop {
            self.change_something().await;
            sleep(self.ms(REST_MS)).await;
        }
    }

    /// Sets every scope and the weights once; overrides hold for longer than the simulation.
    pub(crate) async fn change_everything(&self) {
        for layer in LAYERS {
            let scope = layer.scope_for(NODES[0]).unwrap_or_default();
            while !self.set(&layer, &scope, Duration::from_secs(600)).await {}
        }
        self.weigh().await;
    }

    async fn change_something(&self) {
        let (layer, node, kind) = {
            let mut random = self.random.borrow_mut();
            let layer = LAYERS[random.usize(..LAYERS.len())];
            (layer, NODES[random.usize(..NODES.len())], random.u8(..8))
        };
        // A node outside of the group names none of its scopes.
        let scope = layer.scope_for(node).or(layer.scope_for(NODES[0]));
        let scope = scope.unwrap_or_default();
        let known = self.known(&scope);
        match kind {
            0 => self.weigh().await,
            1 | 2 if !layer.ends && known > 1 => self.roll_back(&scope, known).await,
            _ => drop(self.set(&layer, &scope, self.ms(TTL_MS)).await),
        }
    }

    /// Sets the marker of a layer, and sometimes what others set as well; true if it was made.
    async fn set(&self, layer: &Layer, scope: &str, ttl: Duration) -> bool {
        let value = self.next();
        let setting = |path: &str, value: String| pb::TextSetting {
            path: path.to_owned(),
            value,
        };
        let mut set = vec![setting(layer.marker, (1_000 + value).to_string())];
        if self.random.borrow_mut().bool() {
            set.push(setting(CONTESTED, format!("{}ms", 1_000 + value)));
        }
        let group = scope.starts_with("group/").then(|| pb::GroupSelector {
            labels: [("region".to_owned(), "eu".to_owned())].into(),
            priority: 1,
        });
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.put(pb::PutProfileRequest {
            scope: scope.to_owned(),
            set,
            group,
            ttl_ms: if layer.ends { ttl_ms } else { 0 },
            ..pb::PutProfileRequest::default()
        })
        .await
    }

    async fn roll_back(&self, scope: &str, newest: u64) {
        let to = self.random.borrow_mut().u64(1..newest);
        self.put(pb::PutProfileRequest {
            scope: scope.to_owned(),
            rollback_to: to,
            ..pb::PutProfileRequest::default()
        })
        .await;
    }

    /// Writes a scope over the newest revision that is known here; true if it was made.
    async fn put(&self, request: pb::PutProfileRequest) -> bool {
        let scope = request.scope.clone();
        let request = pb::PutProfileRequest {
            expected_revision: self.known(&scope),
            write_id: format!("{}-{}", self.name, self.next()),
            author: self.name.to_owned(),
            ..request
        };
        let outcome = self
            .insist(&scope, &request.write_id, async |instance| {
                let answer = instance.profiles.clone().put_profile(request.clone()).await;
                answer.map(|answer| {
                    let answer = answer.into_inner();
                    let revision = answer.profile.unwrap_or_default().revision;
                    match answer.changed {
                        true => Outcome::Made(revision),
                        false => Outcome::Unchanged,
                    }
                })
            })
            .await;
        match outcome {
            Outcome::Made(revision) => self.learn(&scope, revision),
            _ => self.look_up(&scope).await,
        }
        matches!(outcome, Outcome::Made(_))
    }

    async fn weigh(&self) {
        let set = BACKENDS.map(|backend| {
            let weight = u32::try_from(1 + self.next() % 100).unwrap_or(1);
            (backend.to_owned(), weight)
        });
        let request = pb::SetWeightsRequest {
            service: SERVICE.to_owned(),
            set: set.into_iter().collect(),
            write_id: format!("{}-{}", self.name, self.next()),
            author: self.name.to_owned(),
            ..pb::SetWeightsRequest::default()
        };
        self.insist(SERVICE, &request.write_id, async |instance| {
            let answer = instance.weights.clone().set_weights(request.clone()).await;
            answer.map(|answer| Outcome::Made(answer.into_inner().revision))
        })
        .await;
    }

    /// Sends a write to any instance, again until its fate is known.
    async fn insist(
        &self,
        target: &str,
        write_id: &str,
        call: impl AsyncFn(&Instance) -> Result<Outcome, Status>,
    ) -> Outcome {
        let began = now();
        let mut outcome = Outcome::Unknown;
        for _ in 0..TRIES {
            let instance = self.any_instance();
            let answer = timeout(CALL_LIMIT, call(instance)).await;
            let code = match answer {
                Ok(Ok(made)) => {
                    outcome = made;
                    break;
                }
                Ok(Err(status)) => Some(status.code()),
                Err(_) => None,
            };
            tracing::trace!(
                operator = self.name,
                instance = instance.name,
                write_id,
                ?code,
                "not made"
            );
            if matches!(code, Some(Code::Aborted | Code::InvalidArgument)) {
                outcome = Outcome::Refused;
                break;
            }
            sleep(self.ms(AGAIN_MS)).await;
        }
        self.recorder.wrote(Write {
            target: target.to_owned(),
            write_id: write_id.to_owned(),
            began,
            ended: now(),
            outcome,
        });
        outcome
    }

    /// Asks what a scope has now.
    async fn look_up(&self, scope: &str) {
        let request = pb::GetProfileRequest {
            scope: scope.to_owned(),
            revision: 0,
        };
        let mut client = self.any_instance().profiles.clone();
        let answer = timeout(CALL_LIMIT, client.get_profile(request)).await;
        if let Ok(Ok(profile)) = answer.map(|answer| answer.map(Response::into_inner)) {
            self.learn(scope, profile.revision);
        }
    }

    /// Asks every instance who is there, for as long as the simulation runs.
    pub(crate) async fn list(&self) {
        loop {
            sleep(LIST_EVERY).await;
            for instance in &self.instances {
                let mut client = instance.nodes.clone();
                let listed = client.list_nodes(pb::ListNodesRequest::default());
                if let Ok(Ok(listed)) = timeout(LIST_EVERY, listed).await {
                    let nodes = listed.into_inner().nodes.into_iter();
                    let nodes = nodes.map(|node| (node.node_id.clone(), node.presence()));
                    self.recorder.listed(instance.name, nodes.collect());
                }
            }
        }
    }

    fn any_instance(&self) -> &Instance {
        let at = self.random.borrow_mut().usize(..self.instances.len());
        &self.instances[at]
    }

    fn known(&self, scope: &str) -> u64 {
        self.known.borrow().get(scope).copied().unwrap_or_default()
    }

    fn learn(&self, scope: &str, revision: u64) {
        let mut known = self.known.borrow_mut();
        let newest = known.entry(scope.to_owned()).or_default();
        *newest = revision.max(*newest);
    }

    fn next(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn ms(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.borrow_mut().u64(range))
    }
}
