//! Writes a service's weights: once, and only over what its writer saw.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use weir_core::tuning::{Code, Problem};
use weir_proto::control::v1::SetWeightsRequest;

use super::{
    BACKEND_BYTES_MAX, BACKENDS_MAX, ReadError, SERVICES_MAX, ServiceWeights, SetError, WEIGHT_MAX,
    WeightStore,
};
use crate::governance::audit::{self, Actor, Change};
use crate::keys::Key;
use crate::problem::{no_name, refused, shown};
use crate::profiles::{check_message, check_write_id};
use crate::store::limits::VALUE_BYTES_MAX;
use crate::store::{self, Compare, Op, Txn};

/// No attempt begins later than this after the first.
pub const SET_LIMIT: Duration = Duration::from_secs(5);
/// After a write whose answer was lost.
const PAUSE: Duration = Duration::from_millis(100);

/// Most problems that are told of one request.
const PROBLEMS_MAX: usize = 1_000;

/// A write whose answer was lost, and the store's revision that it compared.
struct Lost {
    next: ServiceWeights,
    over: u64,
    error: store::Error,
}

/// One change on its way.
struct Set<'a> {
    weights: &'a WeightStore,
    request: &'a SetWeightsRequest,
    key: Bytes,
    actor: &'a Actor,
    now_unix_ms: u64,
    lost: Option<Lost>,
}

impl WeightStore {
    /// Changes the weights of one service, as `SetWeightsRequest` says it.
    ///
    /// # Errors
    /// Why they were not changed; after [`SetError::Uncertain`] alone they may have been.
    pub async fn set(
        &self,
        request: &SetWeightsRequest,
        actor: &Actor,
        now_unix_ms: u64,
    ) -> Result<ServiceWeights, SetError> {
        let problems = check(request);
        if !problems.is_empty() {
            return Err(SetError::Problems(problems));
        }
        let service = &*request.service;
        let key = self.keys.of(&Key::Weights { service });
        let set = Set {
            weights: self,
            request,
            key: key.map_err(|name| SetError::Problems(vec![name.into()]))?,
            actor,
            now_unix_ms,
            lost: None,
        };
        set.run().await
    }
}

impl Set<'_> {
    async fn run(mut self) -> Result<ServiceWeights, SetError> {
        let until = Instant::now() + SET_LIMIT;
        loop {
            match self.attempt().await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(SetError::Read(ReadError::Store(error))) if self.lost.is_some() => {
                    self.lost = self.lost.map(|lost| Lost { error, ..lost });
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= until {
                let error = self.lost.map(|lost| SetError::Uncertain(lost.error));
                return Err(error.unwrap_or(SetError::Contended));
            }
            if self.lost.is_some() {
                sleep(PAUSE).await;
            }
        }
    }

    /// One attempt; `None` if another one is needed.
    async fn attempt(&mut self) -> Result<Option<ServiceWeights>, SetError> {
        let request = self.request;
        let (seen, at) = self.weights.newest(&request.service).await?;
        if seen.write_id == request.write_id {
            return repeated(request, seen).map(Some);
        }
        if let Some(sent) = self.lost.as_ref().filter(|sent| sent.over != at) {
            // Somebody else wrote. What was sent was made before that or can never be; its audit record tells.
            let record = self.audit(&sent.next).key().clone();
            let found = self.weights.store.get(record, None).await;
            if found.map_err(ReadError::Store)?.is_some() {
                return Ok(Some(sent.next.clone()));
            }
            self.lost = None;
        }
        if let Some(expected) = request.expected_revision.filter(|e| *e != seen.revision) {
            let winner = Box::new(seen);
            return Err(SetError::Lost { expected, winner });
        }
        let next = self.edited(&seen)?;
        if next.weights == seen.weights {
            return Ok(Some(seen));
        }
        self.check_room(&seen).await?;
        match self.weights.store.txn(self.txn(&next, at)).await {
            Ok(done) if done.succeeded => Ok(Some(next)),
            Ok(_) => Ok(None),
            Err(error) if error.is_ambiguous() => {
                let over = at;
                self.lost = Some(Lost { next, over, error });
                Ok(None)
            }
            Err(error) => Err(ReadError::Store(error).into()),
        }
    }

    async fn check_room(&self, seen: &ServiceWeights) -> Result<(), SetError> {
        if seen.revision > 0 || self.weights.list().await?.len() < SERVICES_MAX {
            return Ok(());
        }
        let bound = format!("at most {SERVICES_MAX}");
        let message = "is one service with weights too many";
        let problem = refused("service", Code::Range, message, &seen.service, bound);
        Err(SetError::Problems(vec![problem]))
    }

    fn txn(&self, next: &ServiceWeights, over: u64) -> Txn {
        let is_seen = Compare::ModRevision(self.key.clone(), store::Revision(over));
        let put = Op::put(self.key.clone(), next.write());
        Txn::only_if(vec![is_seen], vec![put, self.audit(next)])
    }

    fn audit(&self, next: &ServiceWeights) -> Op {
        let (revision, backends) = (next.revision, next.weights.len());
        let change = Change {
            action: "weights.set",
            target: &next.service,
            message: &next.message,
            write_id: &next.write_id,
            detail: &format!("revision {revision}, {backends} backends have a weight"),
        };
        let record = audit::record(self.actor, &change, self.now_unix_ms);
        audit::put(&self.weights.keys, record, audit::id_of_write(&change))
    }

    /// What the request makes of what is there.
    fn edited(&self, seen: &ServiceWeights) -> Result<ServiceWeights, SetError> {
        let request = self.request;
        let mut weights = seen.weights.clone();
        for backend in &request.unset {
            weights.remove(backend);
        }
        weights.extend(request.set.clone());
        let next = ServiceWeights {
            service: request.service.clone(),
            weights,
            revision: seen.revision.saturating_add(1),
            author: self.actor.author.clone(),
            message: request.message.clone(),
            written_at_unix_ms: self.now_unix_ms,
            write_id: request.write_id.clone(),
        };
        check_size(&next)?;
        Ok(next)
    }
}

fn check_size(next: &ServiceWeights) -> Result<(), SetError> {
    let (backends, bytes) = (next.weights.len(), next.write().len());
    let (value, bound) = if backends > BACKENDS_MAX {
        let bound = format!("at most {BACKENDS_MAX}");
        (format!("{backends} backends"), bound)
    } else if bytes > VALUE_BYTES_MAX {
        let bound = format!("at most {VALUE_BYTES_MAX} bytes");
        (format!("{bytes} bytes"), bound)
    } else {
        return Ok(());
    };
    let message = "are too many with those that are there";
    let problem = refused("set", Code::Range, message, value, bound);
    Err(SetError::Problems(vec![problem]))
}

/// The outcome of a write that was made before.
fn repeated(request: &SetWeightsRequest, made: ServiceWeights) -> Result<ServiceWeights, SetError> {
    let holds = |(backend, weight)| made.weights.get(backend) == Some(weight);
    let is_same = request.set.iter().all(holds)
        && request.unset.iter().all(|b| !made.weights.contains_key(b))
        && request
            .expected_revision
            .is_none_or(|e| e.saturating_add(1) == made.revision);
    if is_same {
        return Ok(made);
    }
    let message = format!("named another write: revision {}", made.revision);
    let bound = "another one for each write";
    let problem = refused("write_id", Code::Conflict, &message, &made.write_id, bound);
    Err(SetError::Problems(vec![problem]))
}

/// Checks every field by itself.
fn check(request: &SetWeightsRequest) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(no_name("service", "names no service", &request.service));
    problems.extend(check_message(&request.message));
    problems.extend(check_write_id(&request.write_id));
    let named = request.set.len() + request.unset.len();
    if named > BACKENDS_MAX {
        let bound = format!("at most {BACKENDS_MAX}");
        problems.push(refused("set", Code::Range, "are too many", named, bound));
        return problems;
    }
    let unset: BTreeSet<&String> = request.unset.iter().collect();
    for (backend, weight) in &request.set {
        check_backend("set", backend, &mut problems);
        if *weight > WEIGHT_MAX {
            let (path, bound) = (
                format!("set.{}", shown(backend)),
                format!("0 to {WEIGHT_MAX}"),
            );
            let problem = refused(path, Code::Range, "is out of bounds", weight, bound);
            problems.push(problem);
        }
        if unset.contains(backend) {
            let message = "is set and unset";
            problems.push(Problem::new(
                "unset",
                Code::Conflict,
                message,
                shown(backend),
            ));
        }
    }
    for backend in &request.unset {
        check_backend("unset", backend, &mut problems);
    }
    problems.truncate(PROBLEMS_MAX);
    problems
}

fn check_backend(path: &str, backend: &str, problems: &mut Vec<Problem>) {
    let fits = (1..=BACKEND_BYTES_MAX).contains(&backend.len());
    if !fits || backend.chars().any(char::is_control) {
        let bound = format!("1 to {BACKEND_BYTES_MAX} bytes without control characters");
        let problem = refused(path, Code::Type, "names no backend", backend, bound);
        problems.push(problem);
    }
}
