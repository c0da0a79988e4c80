//! Keeps the content in force on disk, so that a node starts without its control plane.
//!
//! Owns      the folder: two slots, `lkg-a` and `lkg-b`; `run`, which is there unless the last run ended in
//!           order; `quarantine`; `lock`.
//! Writes    a temporary file, down to the disk, renamed into place: a crash at any moment leaves the old file
//!           or the new one. The newest good slot is never written over by other content; without a good one,
//!           what was in force before the newest content is kept.
//! Bound     [`PAYLOAD_BYTES_MAX`] a slot, [`QUARANTINED_MAX`] entries in quarantine.
//! Fails     softly: what cannot be read is told in [`Boot::notes`], what cannot be written is an [`Error`] and
//!           [`LastKnownGood::problem`]. The node runs on; content that could not be stored is stored by a later
//!           [`LastKnownGood::look`].
//!
//! Standing belongs to the content's hash. A payload stored under the hash that is in force has the standing of
//! that hash: what rides along in it may change without a new probation.
//!
//! Who takes over content: [`LastKnownGood::coming_into_force`] with its hash, so that a crash while it is
//! applied counts against it; apply it; [`LastKnownGood::store`]. If it was refused, `coming_into_force` with
//! the hash that stays. Then [`LastKnownGood::look`] about once a second, and [`LastKnownGood::ended_well`] at
//! the end of every run that ends for a reason which the content cannot have caused.
//!
//! Everything here blocks. [`Keeper`] is for callers that must not.

mod error;
mod files;
mod found;
mod keeper;
mod open;
mod records;
mod slots;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use weir_core::error::chain;
use weir_core::probation::{ContentHash, Crashes, InForce, Probation, Standing};

use files::{Files, replace};
use found::Found;
use records::{RunRecord, SlotRecord, checksum};
use slots::Slots;

pub use error::Error;
pub use keeper::{Keeper, Status};
pub use open::{Boot, Content};
pub use records::Damage;

/// Bytes of one payload.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Entries in quarantine; the oldest makes room.
pub const QUARANTINED_MAX: usize = 16;
/// Bytes of an epoch and of a node's version.
pub const TEXT_BYTES_MAX: usize = 64;

/// The wait until content that could not be stored is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

const RUN: &str = "run";
const QUARANTINE: &str = "quarantine";

/// Content that crashed this node and is refused until the node's version changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The content.
    pub hash: ContentHash,
    /// Why, for people.
    pub reason: String,
    /// The version of the node that it crashed.
    pub node_version: String,
    /// Unix time.
    pub since: Duration,
}

/// Content that the disk did not take.
#[derive(Clone)]
struct Unsaved {
    payload: Bytes,
    hash: ContentHash,
    epoch: String,
}

/// The content in force, and what the disk knows of it.
pub struct LastKnownGood {
    files: Box<dyn Files>,
    /// The folder is there and ours, and what it holds was read.
    ready: bool,
    ended: bool,
    node_version: String,
    slots: Slots,
    in_force: Option<InForce>,
    applied_at: Duration,
    /// `run` says what is in force.
    run_told: bool,
    crashes: Option<Crashes>,
    probation: Probation,
    quarantine: Vec<Quarantined>,
    unsaved: Option<Unsaved>,
    /// When something was written last, or could not be.
    tried_at: Duration,
    problem: Option<String>,
}

impl LastKnownGood {
    /// Notes what is about to come into force, or that nothing is: a crash from now on counts against it.
    ///
    /// # Errors
    /// [`Error::Quarantined`], and nothing is noted; or what kept it from the disk, which is no reason not to
    /// go on.
    pub fn coming_into_force(
        &mut self,
        hash: Option<ContentHash>,
        now: Duration,
    ) -> Result<(), Error> {
        let noted = self.note(hash, now);
        self.keep_problem(noted)
    }

    /// Stores content, which is in force from now on if it was not. Stored anew, the same content costs nothing.
    ///
    /// # Errors
    /// [`Error::Quarantined`] and the bounds, and nothing changes; or what kept it from the disk: the older
    /// content stays there, and a later [`Self::look`] tries again.
    pub fn store(
        &mut self,
        payload: Bytes,
        hash: ContentHash,
        epoch: &str,
        now: Duration,
    ) -> Result<(), Error> {
        let stored = self.try_store(payload, hash, epoch, now);
        self.keep_problem(stored)
    }

    /// The content in force is good.
    ///
    /// # Errors
    /// What kept it from the disk; it is still on probation then.
    pub fn mark_good(&mut self) -> Result<(), Error> {
        let marked = self.try_mark_good();
        self.keep_problem(marked)
    }

    /// Whether [`Self::look`] has something to do; does not block.
    pub fn is_due(&mut self, now: Duration, healthy: bool) -> bool {
        self.retry_is_due(now) | self.proof_is_due(now, healthy)
    }

    /// Lets time pass: content that was in force long enough becomes good, and what could not be stored is
    /// tried again.
    ///
    /// # Errors
    /// What kept it from the disk; tried again after half a minute.
    pub fn look(&mut self, now: Duration, healthy: bool) -> Result<(), Error> {
        if self.retry_is_due(now) {
            match self.waiting().cloned() {
                Some(Unsaved {
                    payload,
                    hash,
                    epoch,
                }) => self.store(payload, hash, &epoch, now)?,
                None => self.coming_into_force(self.in_force.map(|content| content.hash), now)?,
            }
        }
        if !self.proof_is_due(now, healthy) {
            return Ok(());
        }
        let marked = self.mark_good();
        if marked.is_err() {
            self.probation = Probation::starting_at(now);
        }
        marked
    }

    /// The run ends in order: the next one has no crash to count. Nothing is noted after this.
    ///
    /// # Errors
    /// What kept it from the disk; the next start will take this for a crash.
    pub fn ended_well(&mut self) -> Result<(), Error> {
        self.ended = true;
        let removed = self.wake().and_then(|()| {
            let removed = self.files.remove(RUN);
            removed
                .and_then(|()| self.files.sync_folder())
                .map_err(|source| Error::Write { file: RUN, source })
        });
        self.keep_problem(removed)
    }

    /// Why content must not come into force; `None` if it may.
    pub fn refusal(&self, hash: ContentHash) -> Option<&str> {
        let good = self.is_good(hash);
        let mut entries = self.quarantine.iter();
        let entry = entries.find(|entry| entry.hash == hash && !good)?;
        Some(&entry.reason)
    }

    /// The content in force and its standing.
    pub fn in_force(&self) -> Option<(ContentHash, Standing)> {
        let content = self.in_force?;
        let refused = self.quarantine.iter().any(|q| q.hash == content.hash);
        Some((content.hash, content.standing(refused)))
    }

    /// What is in quarantine, the oldest first.
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantine
    }

    /// What the disk refused last; `None` once it takes everything again.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn note(&mut self, hash: Option<ContentHash>, now: Duration) -> Result<(), Error> {
        if let Some(hash) = hash
            && let Some(reason) = self.refusal(hash)
        {
            let reason = reason.to_owned();
            return Err(Error::Quarantined { hash, reason });
        }
        if self.in_force.map(|content| content.hash) != hash {
            self.in_force = hash.map(|hash| InForce {
                hash,
                good: self.is_good(hash),
            });
            self.applied_at = now;
            self.probation = Probation::starting_at(now);
            self.run_told = false;
        }
        self.tried_at = now;
        self.tell_run()
    }

    fn try_store(
        &mut self,
        payload: Bytes,
        hash: ContentHash,
        epoch: &str,
        now: Duration,
    ) -> Result<(), Error> {
        let bytes = payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::PayloadTooLarge { bytes });
        }
        let bytes = epoch.len();
        if bytes > TEXT_BYTES_MAX {
            return Err(Error::EpochTooLong { bytes });
        }
        let noted = self.note(Some(hash), now);
        if let Err(Error::Quarantined { .. }) = noted {
            return noted;
        }
        let stored = self.write_content(&payload, hash, epoch);
        self.unsaved = stored.is_err().then(|| Unsaved {
            payload,
            hash,
            epoch: epoch.to_owned(),
        });
        stored.and(noted)
    }

    fn write_content(
        &mut self,
        payload: &Bytes,
        hash: ContentHash,
        epoch: &str,
    ) -> Result<(), Error> {
        self.wake()?;
        let newest = self.slots.newest(|_| true).map(|(_, held)| held);
        let same = newest.is_some_and(|held| held.is(hash, epoch, checksum(payload)));
        // After a failure nobody knows whether the slot still holds it.
        if same && self.unsaved.is_none() {
            return Ok(());
        }
        let newest = newest.map_or(0, |held| held.slot.sequence);
        let record = SlotRecord {
            sequence: newest.saturating_add(1),
            epoch: epoch.to_owned(),
            content: self.in_force.expect("noted before it is written"),
            applied_at: self.applied_at,
            payload: payload.clone(),
        };
        let refused = |hash| self.quarantine.iter().any(|entry| entry.hash == hash);
        let at = self.slots.place_for(hash, refused);
        self.slots.write(&*self.files, at, &record)
    }

    fn try_mark_good(&mut self) -> Result<(), Error> {
        let Some(content) = self.in_force else {
            return Ok(());
        };
        self.wake()?;
        let of_content = self
            .slots
            .newest(|held| held.slot.content.hash == content.hash);
        if let Some((at, held)) = of_content
            && !held.slot.content.good
        {
            self.mark_slot_good(at)?;
        }
        let hash = content.hash;
        self.in_force = Some(InForce { hash, good: true });
        self.crashes = self.crashes.filter(|crashes| crashes.hash != hash);
        self.run_told = false;
        self.tell_run()
    }

    fn mark_slot_good(&mut self, at: usize) -> Result<(), Error> {
        let file = slots::NAMES[at];
        let gone = || io::ErrorKind::NotFound.into();
        let read = found::read_slot(&*self.files, at).and_then(|there| there.ok_or_else(gone));
        let mut record = read.map_err(|source| {
            // What comes next may be written there.
            self.slots.0[at] = None;
            Error::Read { file, source }
        })?;
        record.content.good = true;
        self.slots.write(&*self.files, at, &record)
    }

    /// Writes down what is in force, if that is not there yet.
    fn tell_run(&mut self) -> Result<(), Error> {
        if self.run_told || self.ended {
            return Ok(());
        }
        self.wake()?;
        let record = RunRecord {
            node_version: self.node_version.clone(),
            in_force: self.in_force,
            crashes: self.crashes,
        };
        replace(&*self.files, RUN, &record.encode())
            .map_err(|source| Error::Write { file: RUN, source })?;
        self.run_told = true;
        Ok(())
    }

    /// Takes a folder that could not be used when the node started, with what is in it.
    fn wake(&mut self) -> Result<(), Error> {
        if self.ready {
            return Ok(());
        }
        self.files.prepare().map_err(Error::of_folder)?;
        let found = Found::read(&*self.files);
        self.slots = Slots::of(&found.slots);
        let own = |entry: &Quarantined| entry.node_version == self.node_version;
        let earlier = found.quarantine.into_iter().filter(own);
        self.quarantine.splice(0..0, earlier);
        self.ready = true;
        Ok(())
    }

    /// Content in force that is not stored.
    fn waiting(&self) -> Option<&Unsaved> {
        let in_force = self.in_force?.hash;
        self.unsaved
            .as_ref()
            .filter(|unsaved| unsaved.hash == in_force)
    }

    fn is_good(&self, hash: ContentHash) -> bool {
        self.in_force == Some(InForce { hash, good: true }) || self.slots.is_good(hash)
    }

    fn proof_is_due(&mut self, now: Duration, healthy: bool) -> bool {
        self.in_force.is_some_and(|content| !content.good) && self.probation.passed(now, healthy)
    }

    fn retry_is_due(&self, now: Duration) -> bool {
        let waits = self.waiting().is_some() || !(self.run_told || self.ended);
        // A clock that stepped back costs a try too many, not a wait without end.
        waits && (now < self.tried_at || now.saturating_sub(self.tried_at) >= RETRY_AFTER)
    }

    fn keep_problem<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match &outcome {
            Err(Error::Quarantined { .. }) => {}
            Err(error) => self.problem = Some(chain(error)),
            Ok(_) if self.unsaved.is_some() => {}
            Ok(_) => self.problem = None,
        }
        outcome
    }
}
