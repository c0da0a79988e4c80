//! Backends that announce themselves.
//!
//! Who hears a backend's heartbeats holds the timer for it and asserts its key; nothing is written while it goes
//! on as it was. A backend may change the instance it talks to: the new one finds the registration in the store
//! and takes the key over, which nobody sees as a loss. The old one finds out before it says anything about the
//! backend again, or when the timer that nobody winds any more runs out; it deletes nothing then.
//!
//! A backend that leaves is written down as gone, with the key's deletion: no instance that still waits for its
//! heartbeats brings it back. Registered anew it has another id, and that counts.
//!
//! Of two processes that register one name with one token the later one has it, and the other's heartbeats are refused.
//! Another token gets the name when the registration has ended.
//!
//! Owns      the registrations heard here: a timer and a [`Tenure`](crate::leases::Tenure) of the key each.
//! Bound     [`Options::registrations_max`] here, [`Options::bounds`] in the namespace; more are refused.
//! Fails     while the store is away, registering and taking over; heartbeats heard here go on.

mod check;
mod error;
mod gone;
mod heard;
mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_proto::control::records::v1::Registration;
use weir_proto::control::v1::Endpoint;

use crate::clock::WallClock;
use crate::governance::audit;
use crate::keys::{Key, Keys};
use crate::leases::{Presences, Settled, Settlement, Unsettled};
use crate::quota::Bounds;
use crate::records;
use crate::store::{Pages, Revision, Store};
use crate::view::Census;
use gone::{Ending, GoneLease};
use task::{Command, Task};

pub use check::{LABELS_MAX, PRIORITY_MAX, TTL, TTL_DEFAULT, WEIGHT_MAX};
pub use error::Error;

/// Most backends that one instance hears, unless [`Options`] say otherwise.
pub const REGISTRATIONS_MAX: usize = 50_000;
/// How long a caller waits for the store.
pub const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Heartbeats that fit into a time to live.
const HEARTBEATS_PER_TTL: u32 = 3;
/// Tries to take a key over that changes meanwhile.
const TAKE_OVERS_MAX: usize = 3;
const COMMANDS_WAITING_MAX: usize = 1024;

/// Who hears backends, and how many.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this instance.
    pub instance: String,
    /// Most registrations. Default [`REGISTRATIONS_MAX`].
    pub registrations_max: usize,
    /// Most of what may be registered, here and elsewhere.
    pub bounds: Bounds,
    /// What is registered, here and elsewhere. Default nothing.
    pub census: watch::Receiver<Arc<Census>>,
    /// Time, for what is kept.
    pub clock: WallClock,
    /// For registration ids; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults.
    pub fn new(instance: impl Into<String>, seed: u64) -> Self {
        Self {
            instance: instance.into(),
            registrations_max: REGISTRATIONS_MAX,
            bounds: Bounds::default(),
            census: watch::channel(Arc::default()).1,
            clock: WallClock::system(),
            seed,
        }
    }
}

/// A registration that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Proves in later calls that the caller is who registered.
    pub registration_id: String,
    /// How often to say something.
    pub heartbeat_interval: Duration,
}

/// The handle.
pub struct Backends {
    store: Arc<dyn Store>,
    keys: Keys,
    commands: mpsc::Sender<Command>,
    gone: GoneLease,
    clock: WallClock,
    task: JoinHandle<()>,
}

impl Backends {
    /// Begins to hear.
    pub fn start(
        store: Arc<dyn Store>,
        keys: Keys,
        presences: Arc<Presences>,
        options: Options,
    ) -> Self {
        let (commands, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let clock = options.clock;
        let task = Task::new(keys.clone(), presences, options);
        Self {
            store,
            keys,
            commands,
            gone: GoneLease::default(),
            clock,
            task: tokio::spawn(task.run(waiting)),
        }
    }

    /// Registers a backend, instead of whoever had its name with the same token. `ttl_ms` of 0 stands for the default,
    /// `token` names the token that it showed; empty without one.
    ///
    /// Two tokens that register one name at the same moment through two instances may both be let in; one of them is
    /// refused with its first heartbeat.
    pub async fn register(
        &self,
        endpoint: Endpoint,
        ttl_ms: u64,
        token: &str,
    ) -> Result<Registered, Error> {
        let ttl = check::registration(&endpoint, ttl_ms).map_err(Error::Invalid)?;
        let key = self.key(&endpoint.service, &endpoint.backend_id)?;
        let is_free = self.check_holder(&key, &endpoint, token).await?;
        let register = |reply| Command::Register {
            key: key.clone(),
            endpoint,
            ttl,
            token: token.to_owned(),
            is_free,
            reply,
        };
        let (registration_id, settled) = self.ask(register).await??;
        match settled.within(WRITE_LIMIT).await {
            Ok(Settlement::Written(_)) => Ok(Registered {
                registration_id,
                heartbeat_interval: ttl / HEARTBEATS_PER_TTL,
            }),
            Ok(_) | Err(Unsettled::Superseded) => Err(Error::WrongRegistration),
            Err(Unsettled::Late(limit)) => {
                // The caller does not learn its id, so nobody would keep it.
                self.release(&key, &registration_id).await?;
                Err(Error::NotWritten(limit))
            }
        }
    }

    /// Refuses a name that the store says is another token's. False while the store is away: nothing is known then but
    /// what is heard here, and nothing can be written either.
    async fn check_holder(
        &self,
        key: &Bytes,
        endpoint: &Endpoint,
        token: &str,
    ) -> Result<bool, Error> {
        let Ok(found) = self.store.get(key.clone(), None).await else {
            return Ok(false);
        };
        // What cannot be read is repaired by who registers.
        let had =
            found.and_then(|found| records::decode::<Registration>(&found.key, &found.value).ok());
        if let Some(had) = had {
            let name = format!("{}/{}", endpoint.service, endpoint.backend_id);
            task::check_holder(&name, &had.registered_by, token)?;
        }
        Ok(true)
    }

    /// A backend lives.
    pub async fn heartbeat(
        &self,
        service: &str,
        backend_id: &str,
        registration_id: &str,
    ) -> Result<(), Error> {
        check::heartbeat(service, backend_id).map_err(Error::Invalid)?;
        let key = self.key(service, backend_id)?;
        for _ in 0..TAKE_OVERS_MAX {
            let hear = |reply| Command::Hear {
                key: key.clone(),
                registration_id: registration_id.to_owned(),
                reply,
            };
            if self.ask(hear).await? {
                return Ok(());
            }
            let (seen, registration) = self.registered(&key, registration_id).await?;
            let take_over = |reply| Command::TakeOver {
                key: key.clone(),
                registration,
                seen,
                reply,
            };
            let settled = self.ask(take_over).await??;
            match settled.within(WRITE_LIMIT).await {
                Ok(Settlement::Written(_)) => return Ok(()),
                Ok(_) | Err(Unsettled::Superseded) => {}
                Err(Unsettled::Late(limit)) => return Err(Error::NotWritten(limit)),
            }
        }
        Err(Error::NotWritten(WRITE_LIMIT))
    }

    /// A backend leaves. One that is not there has left. Through whichever instance it says so, none brings it back.
    pub async fn deregister(
        &self,
        service: &str,
        backend_id: &str,
        registration_id: &str,
    ) -> Result<(), Error> {
        check::heartbeat(service, backend_id).map_err(Error::Invalid)?;
        let key = self.key(service, backend_id)?;
        // Deleted sooner or later, even if the store is away now.
        drop(self.release(&key, registration_id).await?);
        let ending = Ending {
            key: &key,
            service,
            backend_id,
            registration_id: Some(registration_id),
            also: Vec::new(),
            now_unix_ms: self.clock.unix_ms_now(),
        };
        self.end(&ending).await.map(|_| ())
    }

    /// An operator removes a backend, whoever registered it.
    ///
    /// # Errors
    /// [`Error::NotRegistered`] when there is none of this name; else nothing was changed, or, for an ambiguous error
    /// of the store, it may have been.
    pub async fn remove(
        &self,
        service: &str,
        backend_id: &str,
        actor: &audit::Actor,
        message: &str,
    ) -> Result<(), Error> {
        check::heartbeat(service, backend_id).map_err(Error::Invalid)?;
        let key = self.key(service, backend_id)?;
        let now_unix_ms = self.clock.unix_ms_now();
        let change = audit::Change {
            action: "backend.remove",
            target: &format!("{service}/{backend_id}"),
            message,
            ..audit::Change::default()
        };
        let record = audit::record(actor, &change, now_unix_ms);
        let ending = Ending {
            key: &key,
            service,
            backend_id,
            registration_id: None,
            also: vec![audit::put(&self.keys, record, fastrand::u64(..))],
            now_unix_ms,
        };
        if let Some(ended) = self.end(&ending).await? {
            drop(self.release(&key, &ended.registration_id).await?);
        }
        Ok(())
    }

    /// Backends of a service, or of all, as the store has them, in the order of their keys: those after `after`, which
    /// is `service/backend`, and at least `least` of them if there are as many.
    ///
    /// # Errors
    /// When the store does not answer, or a name is none.
    pub async fn list(
        &self,
        service: Option<&str>,
        after: Option<&str>,
        least: usize,
    ) -> Result<Vec<Endpoint>, Error> {
        let prefix = match service {
            Some(service) => self.keys.endpoints_of(service)?,
            None => self.keys.endpoints(),
        };
        let mut pages = Pages::below(&*self.store, prefix);
        if let Some((service, backend)) = after.and_then(|after| after.split_once('/')) {
            pages = pages.after(self.key(service, backend)?);
        }
        let mut endpoints = Vec::new();
        while endpoints.len() < least
            && let Some(page) = pages.next().await?
        {
            for entry in page.entries {
                match records::decode::<Registration>(&entry.key, &entry.value) {
                    Ok(registration) => endpoints.extend(registration.endpoint),
                    Err(error) => tracing::warn!(%error, "a backend cannot be listed"),
                }
            }
        }
        Ok(endpoints)
    }

    /// The registration at a key, if it is this one, and when it was last put.
    async fn registered(
        &self,
        key: &Bytes,
        registration_id: &str,
    ) -> Result<(Revision, Registration), Error> {
        let found = self.store.get(key.clone(), None).await?;
        let found = found.ok_or(Error::NotRegistered)?;
        let registration: Registration = records::decode(&found.key, &found.value)
            .inspect_err(|error| tracing::warn!(%error, "a registration cannot be read"))
            // The backend registers again, which repairs it.
            .map_err(|_| Error::NotRegistered)?;
        if registration.registration_id != registration_id {
            return Err(Error::WrongRegistration);
        }
        Ok((found.mod_revision, registration))
    }

    /// Forgets a registration that is heard here, and withdraws its key.
    async fn release(&self, key: &Bytes, registration_id: &str) -> Result<Option<Settled>, Error> {
        let release = |reply| Command::Release {
            key: key.clone(),
            registration_id: registration_id.to_owned(),
            reply,
        };
        self.ask(release).await?
    }

    fn key(&self, service: &str, backend: &str) -> Result<Bytes, Error> {
        let key = Key::Endpoint { service, backend };
        Ok(self.keys.of(&key)?)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.task.abort();
    }
}
