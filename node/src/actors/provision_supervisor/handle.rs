//! What everyone else holds of the supervisor.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;
use tokio::time::timeout;
use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, JobQueue, Limits, NewJob, Spec};
use weir_core::ids::ServiceName;
use weir_core::provision::{Refusal, RefusalCode, Wrong};
use weir_core::trace::TraceContext;
use weir_core::tuning::knobs::provision;
use weir_engines::driver;

use super::blocked::stopping;
use super::publish::{Leave, Outlet, Picture};
use super::{Configure, Drivers, Links, Plan, StopEngine, StopRefused, room};
use crate::actors::config_agent::InForce;
use crate::config::{DriverKind, ProvisionSettings};
use crate::link::{Refused, Timed};
use crate::snapshot::Snapshot;

/// How long a caller waits for the supervisor.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stopping node waits for the registry and the queue of jobs.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest key of a wish.
const KEY_BYTES_MAX: usize = 200;
/// As much of a wrong key is told.
const KEY_SHOWN_CHARS: usize = 80;
/// Lines of an engine that are told at a time.
pub(super) const LINES_MAX: usize = 10_000;

/// One more engine of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The service.
    pub service: ServiceName,
    /// The same key while the job is open is the same job.
    pub key: String,
    /// Why, for people.
    pub reason: String,
    /// With so many engines there it is no wish any more; `None` when it always is.
    pub engines_wanted: Option<usize>,
    /// The span that wants it.
    pub trace: Option<TraceContext>,
}

/// The job that makes a wish true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wished {
    /// Its id.
    pub job_id: String,
    /// It was there before.
    pub already: bool,
}

/// The supervisor, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct ProvisionHandle {
    pub(crate) links: Links,
    outlet: Outlet,
    queue: Arc<dyn JobQueue>,
    drivers: Drivers,
    in_force: Snapshot<InForce>,
    registers: bool,
}

impl ProvisionHandle {
    /// A handle to a supervisor that publishes to `outlet`.
    pub fn new(
        outlet: &Outlet,
        queue: Arc<dyn JobQueue>,
        drivers: Drivers,
        in_force: Snapshot<InForce>,
        registers: bool,
    ) -> Self {
        Self {
            links: Links::new(),
            outlet: outlet.clone(),
            queue,
            drivers,
            in_force,
            registers,
        }
    }

    /// Hands over what the configuration says of engines.
    ///
    /// # Errors
    /// [`Refused`] when it was not taken in time.
    pub async fn configure(&self, plan: Plan, within: Duration) -> Result<Timed<()>, Refused> {
        let configure = Configure { plan };
        self.links.configure.ask_timed(configure, within).await
    }

    /// Asks for one more engine: a job that survives this node.
    ///
    /// # Errors
    /// Why there is none, for programs and people.
    pub async fn provision(&self, wish: Wish) -> Result<Wished, Refusal> {
        let in_force = self.in_force.load();
        let config = &in_force.config;
        let service = config
            .services
            .iter()
            .find(|service| service.name == wish.service);
        let Some(engines) = service.and_then(|service| service.engines.as_ref()) else {
            let message = format!("service `{}` has no engines", wish.service);
            return Err(Refusal::new(RefusalCode::UnknownService, message));
        };
        check_key(&wish.key)?;
        if *self.outlet.leave.borrow() != Leave::Stays {
            return Err(stopping());
        }
        let picture = self.picture();
        let blocked = picture.blocked_of(wish.service.as_str());
        if let Some(blocked) = blocked.filter(|one| one.code != RefusalCode::NoPortFree) {
            return Err(blocked.clone());
        }
        let open = room::open_jobs(&self.queue, wish.service.as_str()).await;
        let open = open.map_err(|error| refusal(&error, &config.provision))?;
        room::check(&wish, &engines.scale, &open, (&picture, config))?;
        let job = new_job(wish, &config.provision);
        match self.queue.enqueue(job).await {
            Ok(enqueued) => Ok(Wished {
                job_id: enqueued.job_id,
                already: enqueued.already,
            }),
            Err(error) => Err(refusal(&error, &config.provision)),
        }
    }

    /// Takes an engine of this node out of traffic and stops it.
    ///
    /// # Errors
    /// [`Refused`] when the supervisor did not answer; [`StopRefused`] when it said no.
    pub async fn stop(&self, stop: StopEngine) -> Result<Result<(), StopRefused>, Refused> {
        self.links.stop.ask(stop, None, ASK_TIMEOUT).await
    }

    /// The last lines that an engine of this node wrote.
    ///
    /// # Errors
    /// When there is no such engine here or its lines cannot be read.
    pub async fn logs(&self, engine: &str, lines_max: usize) -> Result<Vec<String>, driver::Error> {
        let picture = self.picture();
        let known = picture.engines.iter().find(|known| known.id == engine);
        let Some(known) = known else {
            return Err(driver::Error::Unknown(engine.to_owned()));
        };
        let kind = match known.driver == DriverKind::Docker.name() {
            true => DriverKind::Docker,
            false => DriverKind::Process,
        };
        let name = super::spec::name_of(engine);
        self.drivers
            .of(kind)
            .logs(&name, lines_max.min(LINES_MAX))
            .await
    }

    /// The node stops: nothing new is started, jobs in hand are given back, and other nodes are told to use its engines
    /// no more. Waits a while until all that is done.
    pub async fn leave(&self) {
        self.outlet.leave.send_if_modified(|leave| {
            let stays = *leave == Leave::Stays;
            if stays {
                *leave = Leave::Leaving;
            }
            stays
        });
        let mut leave = self.outlet.leave.subscribe();
        let done = async {
            if self.registers {
                drop(leave.wait_for(|leave| *leave == Leave::Left).await);
            }
            self.outlet.nothing_in_hand().await;
        };
        // Whoever cannot be told notices by the silence.
        drop(timeout(LEAVE_TIMEOUT, done).await);
    }

    /// What there is.
    pub fn picture(&self) -> Arc<Picture> {
        self.outlet.picture.load()
    }

    /// Rises with each new picture.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.outlet.revision.subscribe()
    }

    /// Where jobs are.
    pub fn queue(&self) -> &Arc<dyn JobQueue> {
        &self.queue
    }
}

/// Whether a wish may have this key: the store has a path for each.
///
/// # Errors
/// [`RefusalCode::InvalidKey`], with the value and its bound.
fn check_key(key: &str) -> Result<(), Refusal> {
    let has_length = (1..=KEY_BYTES_MAX).contains(&key.len());
    if has_length && !key.chars().any(|c| c == '/' || c.is_control()) {
        return Ok(());
    }
    let wrong = Wrong {
        field: "key",
        value: key.chars().take(KEY_SHOWN_CHARS).collect(),
        bound: format!("1 to {KEY_BYTES_MAX} bytes without / and control characters"),
    };
    Err(Refusal::of_wrong(RefusalCode::InvalidKey, wrong))
}

/// The job of a wish.
pub(super) fn new_job(wish: Wish, limits: &ProvisionSettings) -> NewJob {
    NewJob {
        queue: DEFAULT_QUEUE.to_owned(),
        idempotency_key: wish.key,
        spec: Spec {
            service: wish.service.to_string(),
            reason: wish.reason,
            payload: payload(wish.engines_wanted),
            trace_context: wish.trace.map(written).unwrap_or_default(),
            ..Spec::default()
        },
        limits: Limits {
            attempts_max: limits.attempts_max,
            retry_delay: limits.retry_delay,
            retry_delay_max: limits.retry_delay_max,
        },
        queue_max: Some(u64::from(limits.queue_max)),
        ..NewJob::default()
    }
}

fn written(trace: TraceContext) -> String {
    let header = trace.header_value();
    header.to_str().unwrap_or_default().to_owned()
}

/// The span that wanted a job.
pub(super) fn trace_of(spec: &Spec) -> Option<TraceContext> {
    TraceContext::parse(&HeaderValue::from_str(&spec.trace_context).ok()?)
}

const ENGINES_WANTED: &str = "engines_wanted=";

fn payload(engines_wanted: Option<usize>) -> Vec<u8> {
    let text = engines_wanted.map(|wanted| format!("{ENGINES_WANTED}{wanted}"));
    text.unwrap_or_default().into_bytes()
}

/// What [`Wish::engines_wanted`] a job was made with.
pub(super) fn engines_wanted(spec: &Spec) -> Option<usize> {
    let text = std::str::from_utf8(&spec.payload).ok()?;
    text.strip_prefix(ENGINES_WANTED)?.parse().ok()
}

/// What a queue's "no" means for who wants an engine.
pub(super) fn refusal(error: &Error, limits: &ProvisionSettings) -> Refusal {
    match error {
        Error::Full { open, open_max, .. } => {
            let field = match *open_max == u64::from(limits.queue_max) {
                true => provision::QUEUE_MAX.path,
                false => "open jobs of the store",
            };
            Refusal::queue_full(field, *open, *open_max, limits.interval_min)
        }
        _ => Refusal::new(RefusalCode::StoreAway, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_none_may_have_is_refused_as_that_with_value_and_bound() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for key in ["", "a/b", "a\nb", &long] {
            let refused = check_key(key).unwrap_err();
            assert_eq!(refused.code, RefusalCode::InvalidKey);
            let wrong = refused.wrong.unwrap();
            assert_eq!(wrong.field, "key");
            assert!(key.starts_with(&wrong.value), "{wrong:?}");
            assert_eq!(
                wrong.bound,
                "1 to 200 bytes without / and control characters"
            );
        }
        for key in ["a", &long[1..], "scale:tv:1"] {
            assert_eq!(check_key(key), Ok(()));
        }
    }
}
