//! Two connections to one Redis, so that a small value never waits behind a large one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use weir_core::trip::{Totals, TripConfig};

use super::counters::L2Counters;
use super::failure::{Failure, FailureKind};
use super::settings::{L2Settings, RedisUrl};

/// Commands that may wait for a connection to take them; more than may be under way.
const PIPELINE_COMMANDS_MAX: usize = 1024;
/// What Redis answers for a key that holds something else than a value. It says nothing of Redis.
const WRONG_TYPE: &str = "WRONGTYPE";

/// When nothing more is asked over a connection.
pub(super) const TRIP: TripConfig = TripConfig {
    failures_min: 5,
    failed_percent_max: 20,
    window: Duration::from_secs(1),
};

/// The connections while they are up.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Reads of small values; the first part of others.
    pub(super) quick: Arc<Lane>,
    /// Reads of large values, and all writes.
    pub(super) bulk: Arc<Lane>,
    pub(super) command_timeout: Duration,
}

/// One connection and how it does.
#[derive(Debug)]
pub(super) struct Lane {
    connection: MultiplexedConnection,
    url: RedisUrl,
    counters: Arc<L2Counters>,
    health: Health,
    failing: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Health {
    succeeded: AtomicU64,
    failed: AtomicU64,
    failed_in_a_row: AtomicU32,
    broken: AtomicBool,
    last_failure: ArcSwapOption<Failure>,
}

impl Link {
    /// Connects. `failing` is told of each failure from then on.
    pub(super) async fn connect(
        settings: &L2Settings,
        counters: &Arc<L2Counters>,
        failing: &Arc<Notify>,
    ) -> Result<Self, Failure> {
        let url = &settings.url;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            // Each command has a deadline of ours.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
        let told = |error: RedisError| Failure::of_client(&error, url);
        let client = Client::open(url.info().clone()).map_err(told)?;
        let one = || client.get_multiplexed_async_connection_with_config(&config);
        let (quick, bulk) = tokio::try_join!(one(), one())
            .map_err(told)
            .inspect_err(|failure| counters.failed(failure.kind))?;
        let lane = |connection| {
            Arc::new(Lane {
                connection,
                url: url.clone(),
                counters: Arc::clone(counters),
                health: Health::default(),
                failing: Arc::clone(failing),
            })
        };
        Ok(Self {
            quick: lane(quick),
            bulk: lane(bulk),
            command_timeout: settings.command_timeout,
        })
    }
}

impl Lane {
    /// Gives one command and returns its answer, which is no error.
    pub(super) async fn ask(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let mut connection = self.connection.clone();
        let asked = connection.send_packed_command(command);
        match self.answer(asked, deadline).await? {
            Value::ServerError(error) if error.code() == WRONG_TYPE => {
                self.worked();
                self.checked(Value::ServerError(error))
            }
            Value::ServerError(error) => {
                Err(self.failed(Failure::of_server(&error, &self.url), false))
            }
            value => {
                self.worked();
                Ok(value)
            }
        }
    }

    /// Gives many commands at once and returns their answers, some of which may be errors.
    pub(super) async fn ask_all(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut connection = self.connection.clone();
        let asked = connection.send_packed_commands(commands, 0, commands.len());
        let values = self.answer(asked, deadline).await?;
        if values.len() != commands.len() {
            return Err(self.failed(Failure::garbled("a batch"), false));
        }
        self.worked();
        Ok(values
            .into_iter()
            .map(|value| self.checked(value))
            .collect())
    }

    async fn answer<T>(
        &self,
        asked: impl Future<Output = RedisResult<T>>,
        deadline: Instant,
    ) -> Result<T, Failure> {
        match timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let failure = Failure::of_client(&error, &self.url);
                Err(self.failed(failure, error.is_unrecoverable_error()))
            }
            Err(_) => Err(self.late()),
        }
    }

    /// How calls ended so far.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            succeeded: self.health.succeeded.load(Ordering::Relaxed),
            failed: self.health.failed.load(Ordering::Relaxed),
            failed_in_a_row: self.health.failed_in_a_row.load(Ordering::Relaxed),
        }
    }

    /// What failed last.
    pub(super) fn last_failure(&self) -> Option<Arc<Failure>> {
        self.health.last_failure.load_full()
    }

    /// Whether anything may be asked, as far as that shows without looking at a window.
    pub(super) fn is_usable(&self) -> bool {
        let in_a_row = self.health.failed_in_a_row.load(Ordering::Relaxed);
        !self.is_broken() && !TRIP.is_too_many_in_a_row(in_a_row)
    }

    /// Whether the connection is no more.
    pub(super) fn is_broken(&self) -> bool {
        self.health.broken.load(Ordering::Relaxed)
    }

    /// An answer within a batch; an error says nothing of the connection.
    fn checked(&self, value: Value) -> Result<Value, Failure> {
        match value {
            Value::ServerError(error) => {
                let failure = Failure::of_server(&error, &self.url);
                self.counters.failed(failure.kind);
                Err(failure)
            }
            value => Ok(value),
        }
    }

    fn late(&self) -> Failure {
        let failure = Failure::new(FailureKind::Late, "it does not answer in time");
        self.failed(failure, false)
    }

    fn worked(&self) {
        self.health.succeeded.fetch_add(1, Ordering::Relaxed);
        self.health.failed_in_a_row.store(0, Ordering::Relaxed);
    }

    fn failed(&self, failure: Failure, broke: bool) -> Failure {
        let health = &self.health;
        self.counters.failed(failure.kind);
        health.last_failure.store(Some(Arc::new(failure.clone())));
        health.failed.fetch_add(1, Ordering::Relaxed);
        health.failed_in_a_row.fetch_add(1, Ordering::Relaxed);
        health.broken.fetch_or(broke, Ordering::Relaxed);
        self.failing.notify_one();
        failure
    }
}
