//! The owner of the timers at work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use weir_proto::control::records::v1::Registration;
use weir_proto::control::v1::Endpoint;

use super::gone::gone_key;
use super::heard::Registrations;
use super::{Error, Options, TTL};
use crate::keys::{Key, Keys};
use crate::leases::{Presences, Settled};
use crate::quota::Quota;
use crate::records;
use crate::store::Revision;
use crate::wait::sleep_until;

/// What the owner is asked.
#[derive(Debug)]
pub(super) enum Command {
    Register {
        key: Bytes,
        endpoint: Endpoint,
        ttl: Duration,
        token: String,
        /// The store was read, and the name was not another token's.
        is_free: bool,
        reply: oneshot::Sender<Result<(String, Settled), Error>>,
    },
    /// A heartbeat; false if it is not for something heard here.
    Hear {
        key: Bytes,
        registration_id: String,
        reply: oneshot::Sender<bool>,
    },
    TakeOver {
        key: Bytes,
        registration: Registration,
        seen: Revision,
        reply: oneshot::Sender<Result<Settled, Error>>,
    },
    /// Nothing if it is not heard here.
    Release {
        key: Bytes,
        registration_id: String,
        reply: oneshot::Sender<Result<Option<Settled>, Error>>,
    },
}

pub(super) struct Task {
    presences: Arc<Presences>,
    keys: Keys,
    options: Options,
    quota: Quota,
    random: fastrand::Rng,
    registrations: Registrations,
}

impl Task {
    pub(super) fn new(keys: Keys, presences: Arc<Presences>, options: Options) -> Self {
        Self {
            keys,
            presences,
            quota: Quota::of_backends(options.bounds),
            random: fastrand::Rng::with_seed(options.seed),
            options,
            registrations: Registrations::default(),
        }
    }

    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let look_at = self.registrations.next_look();
            tokio::select! {
                biased;
                // Heartbeats that arrived in time are heard before anybody is called silent.
                command = commands.recv() => match command {
                    Some(command) => self.answer(command).await,
                    None => return,
                },
                () = sleep_until(look_at) => self.remove_silent().await,
            }
        }
    }

    async fn answer(&mut self, command: Command) {
        // Who does not wait for an answer any more does not get one.
        match command {
            Command::Register {
                key,
                endpoint,
                ttl,
                token,
                is_free,
                reply,
            } => {
                let checked = self.check_heard(&key, &token, is_free);
                let _ = reply.send(match checked {
                    Ok(()) => self.register(key, endpoint, ttl, token).await,
                    Err(taken) => Err(taken),
                });
            }
            Command::Hear {
                key,
                registration_id,
                reply,
            } => {
                let now = Instant::now();
                let _ = reply.send(self.registrations.wind(&key, &registration_id, now));
            }
            Command::TakeOver {
                key,
                registration,
                seen,
                reply,
            } => {
                let _ = reply.send(self.take_over(key, registration, seen).await);
            }
            Command::Release {
                key,
                registration_id,
                reply,
            } => {
                let _ = reply.send(self.release(&key, &registration_id).await);
            }
        }
    }

    /// What is heard here may have ended elsewhere: then the store knows better. What is on its way there it does not.
    fn check_heard(&self, key: &Bytes, token: &str, is_free: bool) -> Result<(), Error> {
        let heard = self.registrations.get(key).filter(|heard| {
            let is_on_its_way = heard.tenure.written().is_none();
            !heard.tenure.is_over() && (is_on_its_way || !is_free)
        });
        heard.map_or(Ok(()), |heard| {
            check_holder(&self.name(key), &heard.token, token)
        })
    }

    async fn register(
        &mut self,
        key: Bytes,
        endpoint: Endpoint,
        ttl: Duration,
        token: String,
    ) -> Result<(String, Settled), Error> {
        self.check_room(&key)?;
        let census = Arc::clone(&self.options.census.borrow());
        let name = self.name(&key);
        self.quota.admit(&census, &name, &token, Instant::now())?;
        let id = format!("{:016x}{:016x}", self.random.u64(..), self.random.u64(..));
        let gone = self.gone(&key, &id)?;
        let registration = Registration {
            registered_by: token.clone(),
            endpoint: Some(endpoint),
            registration_id: id.clone(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            instance: self.options.instance.clone(),
        };
        let value = records::encode(&registration);
        let settled = self.presences.assert_unless(key.clone(), value, gone);
        let settled = settled.await?;
        self.hear(&key, (id.clone(), token), ttl, &settled);
        Ok((id, settled))
    }

    async fn take_over(
        &mut self,
        key: Bytes,
        registration: Registration,
        seen: Revision,
    ) -> Result<Settled, Error> {
        self.check_room(&key)?;
        let heard = self.registrations.get(&key);
        if heard.is_some_and(|heard| heard.is_newer(&registration.registration_id, seen)) {
            return Err(Error::WrongRegistration);
        }
        let ttl = Duration::from_millis(registration.ttl_ms).clamp(*TTL.start(), *TTL.end());
        let id = registration.registration_id.clone();
        let token = registration.registered_by.clone();
        let gone = self.gone(&key, &id)?;
        let value = records::encode(&Registration {
            instance: self.options.instance.clone(),
            ..registration
        });
        let settled = self
            .presences
            .take_over_unless(key.clone(), value, seen, gone);
        let settled = settled.await?;
        self.hear(&key, (id, token), ttl, &settled);
        Ok(settled)
    }

    async fn release(
        &mut self,
        key: &Bytes,
        registration_id: &str,
    ) -> Result<Option<Settled>, Error> {
        let heard = self.registrations.get(key);
        if heard.is_none_or(|heard| heard.registration_id != registration_id) {
            return Ok(None);
        }
        self.registrations.remove(key);
        self.quota.release(&self.name(key));
        Ok(Some(self.presences.withdraw(key.clone()).await?))
    }

    async fn remove_silent(&mut self) {
        while let Some((key, heard)) = self.registrations.silent(Instant::now()) {
            let name = key.escape_ascii();
            tracing::info!(key = %name, ttl = ?heard.ttl, "a backend fell silent");
            // Refused only when all is stopping, and the leases end then.
            let _ = self.presences.withdraw(key).await;
        }
    }

    /// `service/backend` of a key.
    fn name(&self, key: &Bytes) -> String {
        match self.keys.parse(key) {
            Some(Key::Endpoint { service, backend }) => format!("{service}/{backend}"),
            _ => String::new(),
        }
    }

    /// Where it is kept that a registration of this key was ended.
    fn gone(&self, key: &Bytes, registration_id: &str) -> Result<Bytes, Error> {
        let name = self.name(key);
        let (service, backend) = name.split_once('/').unwrap_or_default();
        Ok(gone_key(&self.keys, service, backend, registration_id)?)
    }

    fn hear(&mut self, key: &Bytes, who: (String, String), ttl: Duration, settled: &Settled) {
        let now = Instant::now();
        let tenure = settled.tenure();
        self.registrations.insert(key, who, ttl, tenure, now);
    }

    fn check_room(&self, key: &Bytes) -> Result<(), Error> {
        let most = self.options.registrations_max;
        if self.registrations.len() < most || self.registrations.get(key).is_some() {
            return Ok(());
        }
        Err(Error::Full(most))
    }
}

/// Whether a backend that this token registered may be registered anew with that one.
///
/// # Errors
/// Its name and who has it.
pub(super) fn check_holder(name: &str, had: &str, token: &str) -> Result<(), Error> {
    if had == token {
        return Ok(());
    }
    Err(Error::Taken {
        name: name.to_owned(),
        holder: match had {
            "" => "somebody without a token".to_owned(),
            had => format!("token `{had}`"),
        },
    })
}
