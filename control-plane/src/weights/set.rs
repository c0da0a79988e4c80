//! Writes a service's weights: once, and only over what its writer saw.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_core::tuning::{Code, Problem, is_name};
use weir_proto::control::v1::SetWeightsRequest;

use super::{
    BACKEND_BYTES_MAX, BACKENDS_MAX, ReadError, SERVICES_MAX, ServiceWeights, SetError, WEIGHT_MAX,
    WeightStore,
};
use crate::profiles::{Change, audit_op, check_message, check_write_id, refused};
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

impl WeightStore {
    /// Changes the weights of one service, as `SetWeightsRequest` says it. Message and write id are the request's,
    /// whatever `change` says.
    ///
    /// # Errors
    /// Why they were not changed; after [`SetError::Uncertain`] alone they may have been.
    pub async fn set(
        &self,
        request: &SetWeightsRequest,
        change: &Change<'_>,
    ) -> Result<ServiceWeights, SetError> {
        let problems = check(request);
        if !problems.is_empty() {
            return Err(SetError::Problems(problems));
        }
        let change = Change {
            message: &request.message,
            write_id: &request.write_id,
            ..*change
        };
        let until = Instant::now() + SET_LIMIT;
        let mut lost: Option<Lost> = None;
        loop {
            match self.attempt(request, &change, &mut lost).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(SetError::Read(ReadError::Store(error))) if lost.is_some() => {
                    lost = lost.map(|lost| Lost { error, ..lost });
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= until {
                let error = lost.map(|lost| SetError::Uncertain(lost.error));
                return Err(error.unwrap_or(SetError::Contended));
            }
            if lost.is_some() {
                sleep(PAUSE).await;
            }
        }
    }

    /// One attempt; `None` if another one is needed.
    async fn attempt(
        &self,
        request: &SetWeightsRequest,
        change: &Change<'_>,
        lost: &mut Option<Lost>,
    ) -> Result<Option<ServiceWeights>, SetError> {
        let (seen, at) = self.newest(&request.service).await?;
        if seen.write_id == change.write_id {
            return repeated(request, seen).map(Some);
        }
        if let Some(sent) = lost.as_ref().filter(|sent| sent.over != at) {
            // Somebody else wrote. What was sent was made before that or can never be; its audit record tells.
            let key = self.audit(change, &sent.next).key().clone();
            if self
                .store
                .get(key, None)
                .await
                .map_err(ReadError::Store)?
                .is_some()
            {
                return Ok(Some(sent.next.clone()));
            }
            *lost = None;
        }
        if let Some(expected) = request.expected_revision.filter(|e| *e != seen.revision) {
            let winner = Box::new(seen);
            return Err(SetError::Lost { expected, winner });
        }
        let next = edited(request, change, &seen)?;
        if next.weights == seen.weights {
            return Ok(Some(seen));
        }
        self.check_room(&seen).await?;
        let txn = self.txn(change, &next, at);
        match self.store.txn(txn).await {
            Ok(done) if done.succeeded => Ok(Some(next)),
            Ok(_) => Ok(None),
            Err(error) if error.is_ambiguous() => {
                *lost = Some(Lost {
                    next,
                    over: at,
                    error,
                });
                Ok(None)
            }
            Err(error) => Err(ReadError::Store(error).into()),
        }
    }

    async fn check_room(&self, seen: &ServiceWeights) -> Result<(), SetError> {
        if seen.revision > 0 || self.list().await?.len() < SERVICES_MAX {
            return Ok(());
        }
        let bound = format!("at most {SERVICES_MAX}");
        let message = "is one service with weights too many";
        let problem = refused("service", Code::Range, message, &seen.service, &bound);
        Err(SetError::Problems(vec![problem]))
    }

    fn audit(&self, change: &Change<'_>, next: &ServiceWeights) -> Op {
        let detail = format!(
            "revision {}, {} backends have a weight",
            next.revision,
            next.weights.len()
        );
        audit_op(&self.keys, change, "weights.set", &next.service, detail)
    }

    fn txn(&self, change: &Change<'_>, next: &ServiceWeights, over: u64) -> Txn {
        let key = self.keys.weights(&next.service);
        Txn {
            when: vec![Compare::ModRevision(key.clone(), store::Revision(over))],
            then: vec![
                Op::Put {
                    key,
                    value: next.write(),
                    lease: None,
                },
                self.audit(change, next),
            ],
            or_else: Vec::new(),
        }
    }
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

fn edited(
    request: &SetWeightsRequest,
    change: &Change<'_>,
    seen: &ServiceWeights,
) -> Result<ServiceWeights, SetError> {
    let mut weights = seen.weights.clone();
    for backend in &request.unset {
        weights.remove(backend);
    }
    weights.extend(request.set.clone());
    let next = ServiceWeights {
        service: request.service.clone(),
        weights,
        revision: seen.revision.saturating_add(1),
        author: change.author.to_owned(),
        message: change.message.to_owned(),
        written_at_unix_ms: change.now_unix_ms,
        write_id: change.write_id.to_owned(),
    };
    let (backends, bytes) = (next.weights.len(), next.write().len());
    let too_many = |value: String, bound: String| {
        let message = "are too many with those that are there";
        refused("set", Code::Range, message, &value, &bound)
    };
    let problem = if backends > BACKENDS_MAX {
        too_many(
            format!("{backends} backends"),
            format!("at most {BACKENDS_MAX}"),
        )
    } else if bytes > VALUE_BYTES_MAX {
        too_many(
            format!("{bytes} bytes"),
            format!("at most {VALUE_BYTES_MAX} bytes"),
        )
    } else {
        return Ok(next);
    };
    Err(SetError::Problems(vec![problem]))
}

/// Checks every field by itself.
fn check(request: &SetWeightsRequest) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_name(&request.service) {
        let bound = "1 to 63 letters, digits, `-`, `_` or `.`";
        let (message, value) = ("names no service", &request.service);
        problems.push(refused("service", Code::Type, message, value, bound));
    }
    problems.extend(check_message(&request.message));
    problems.extend(check_write_id(&request.write_id));
    let named = request.set.len() + request.unset.len();
    if named > BACKENDS_MAX {
        let (value, bound) = (named.to_string(), format!("at most {BACKENDS_MAX}"));
        problems.push(refused("set", Code::Range, "are too many", &value, &bound));
        return problems;
    }
    let unset: BTreeSet<&String> = request.unset.iter().collect();
    for (backend, weight) in &request.set {
        check_backend("set", backend, &mut problems);
        if *weight > WEIGHT_MAX {
            let (path, value) = (format!("set.{}", shown(backend)), weight.to_string());
            let bound = format!("0 to {WEIGHT_MAX}");
            problems.push(refused(
                &path,
                Code::Range,
                "is out of bounds",
                &value,
                &bound,
            ));
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
        let message = "names no backend";
        problems.push(refused(path, Code::Type, message, &shown(backend), &bound));
    }
}

fn shown(backend: &str) -> String {
    const CHARS_MAX: usize = 60;
    let start: String = backend.chars().take(CHARS_MAX).collect();
    start.escape_debug().to_string()
}
