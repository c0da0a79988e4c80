//! Where the jobs of one queue are.

use bytes::Bytes;
use weir_core::tuning::{NAME_BOUND, is_name};

use super::name::{InvalidName, check_name};
use super::{Keys, parse};

const ID_DIGITS: usize = 28;
const ID_BOUND: &str = "28 lower-case hexadecimal digits";

/// The keys of one queue. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobKeys {
    root: Bytes,
}

/// What the key of a job that waits says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyKey<'a> {
    /// 0 comes first.
    pub priority: u32,
    /// When it may be claimed.
    pub not_before_unix_ms: u64,
    /// Which job.
    pub job_id: &'a str,
}

/// Whether a text can name a job.
///
/// # Errors
/// When it cannot.
pub fn check_job_id(job_id: &str) -> Result<(), InvalidName> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if job_id.len() == ID_DIGITS && job_id.bytes().all(is_digit) {
        return Ok(());
    }
    Err(InvalidName::new("job_id", job_id, ID_BOUND))
}

impl Keys {
    /// The prefix of all queues.
    pub fn job_queues(&self) -> Bytes {
        self.below("live/jobs/")
    }

    /// Sorts after all that is in a queue, and before all of the next one.
    pub fn after_job_queue(&self, queue: &str) -> Bytes {
        [&*self.below(&format!("live/jobs/{queue}/")), b"\xff"]
            .concat()
            .into()
    }

    /// The queue that a key belongs to.
    pub fn job_queue_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let below = key.strip_prefix(&*self.job_queues())?;
        let (queue, _) = std::str::from_utf8(below).ok()?.split_once('/')?;
        is_name(queue).then_some(queue)
    }

    /// The keys of a queue.
    ///
    /// # Errors
    /// When its name is none.
    pub fn jobs(&self, queue: &str) -> Result<JobKeys, InvalidName> {
        if !is_name(queue) {
            return Err(InvalidName::new("queue", queue, NAME_BOUND));
        }
        let root = self.below(&format!("live/jobs/{queue}/"));
        Ok(JobKeys { root })
    }
}

impl JobKeys {
    /// The key of an open job; of one that ended [`JobKeys::dead`] or [`JobKeys::done`].
    pub fn job(&self, job_id: &str) -> Bytes {
        self.below(&format!("job/{job_id}"))
    }

    /// The key of a job that failed for good.
    pub fn dead(&self, job_id: &str) -> Bytes {
        self.below(&format!("dead/{job_id}"))
    }

    /// The key of a job that was done or cancelled.
    pub fn done(&self, job_id: &str) -> Bytes {
        self.below(&format!("done/{job_id}"))
    }

    /// The prefix of open jobs.
    pub fn all_open(&self) -> Bytes {
        self.below("job/")
    }

    /// The prefix of dead jobs.
    pub fn all_dead(&self) -> Bytes {
        self.below("dead/")
    }

    /// The prefix of jobs that were done or cancelled.
    pub fn all_done(&self) -> Bytes {
        self.below("done/")
    }

    /// The key by which a job waits. Keys sort by priority, then time.
    pub fn ready(&self, priority: u32, not_before_unix_ms: u64, job_id: &str) -> Bytes {
        self.below(&format!(
            "ready/{priority:03}/{not_before_unix_ms:020}/{job_id}"
        ))
    }

    /// The prefix of jobs that wait.
    pub fn all_ready(&self) -> Bytes {
        self.below("ready/")
    }

    /// Sorts after all that waits with this priority, and before all of the next one.
    pub fn after_priority(&self, priority: u32) -> Bytes {
        // The digit follows the slash.
        self.below(&format!("ready/{priority:03}0"))
    }

    /// Reads a key by which a job waits.
    pub fn parse_ready<'a>(&self, key: &'a [u8]) -> Option<ReadyKey<'a>> {
        let below = key.strip_prefix(&*self.all_ready())?;
        let mut parts = std::str::from_utf8(below).ok()?.split('/');
        let (priority, not_before, job_id) = (parts.next()?, parts.next()?, parts.next()?);
        let is_id = check_job_id(job_id).is_ok() && parts.next().is_none();
        is_id.then_some(ReadyKey {
            priority: priority.parse().ok()?,
            not_before_unix_ms: parse::number(not_before)?,
            job_id,
        })
    }

    /// The key of a claim, under its lease.
    pub fn claim(&self, job_id: &str) -> Bytes {
        self.below(&format!("claim/{job_id}"))
    }

    /// The prefix of claims.
    pub fn all_claims(&self) -> Bytes {
        self.below("claim/")
    }

    /// The key that stands beside a claim, under no lease.
    pub fn held(&self, job_id: &str) -> Bytes {
        self.below(&format!("held/{job_id}"))
    }

    /// The prefix of those.
    pub fn all_held(&self) -> Bytes {
        self.below("held/")
    }

    /// The job of a key right below a prefix.
    pub fn job_id_below<'a>(prefix: &[u8], key: &'a [u8]) -> Option<&'a str> {
        let id = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?;
        check_job_id(id).is_ok().then_some(id)
    }

    /// The key of a place in the fleet's bound, under the claim's lease.
    pub fn slot(&self, slot: u32) -> Bytes {
        self.below(&format!("slot/{slot}"))
    }

    /// The prefix of places that are taken.
    pub fn all_slots(&self) -> Bytes {
        self.below("slot/")
    }

    /// The place that a key is about.
    pub fn parse_slot(&self, key: &[u8]) -> Option<u32> {
        let below = key.strip_prefix(&*self.all_slots())?;
        std::str::from_utf8(below).ok()?.parse().ok()
    }

    /// The key that tells when a job was started last.
    pub fn gate(&self) -> Bytes {
        self.below("gate")
    }

    /// The key that counts.
    pub fn tally(&self) -> Bytes {
        self.below("tally")
    }

    /// The key that finds the open job with an idempotency key.
    ///
    /// # Errors
    /// When it cannot stand in a key.
    pub fn idempotency(&self, key: &str) -> Result<Bytes, InvalidName> {
        check_name("idempotency_key", key)?;
        Ok(self.below(&format!("key/{key}")))
    }

    /// The key of an exclusive hold, under its lease.
    ///
    /// # Errors
    /// When its name cannot stand in a key.
    pub fn hold(&self, name: &str) -> Result<Bytes, InvalidName> {
        check_name("name", name)?;
        Ok(self.below(&format!("hold/{name}")))
    }

    fn below(&self, path: &str) -> Bytes {
        [&*self.root, path.as_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DEFAULT_NAMESPACE;

    const ID: &str = "0123456789abcdef0123456789ab";

    fn keys() -> Keys {
        Keys::new(DEFAULT_NAMESPACE).unwrap()
    }

    #[test]
    fn a_queue_is_told_from_its_keys_and_none_reaches_into_another() {
        let keys = keys();
        let queue = keys.jobs("engines").unwrap();
        for key in [
            queue.gate(),
            queue.job(ID),
            queue.idempotency("tv-3").unwrap(),
        ] {
            assert_eq!(keys.job_queue_of(&key), Some("engines"));
            assert!(key < keys.after_job_queue("engines"));
            assert_eq!(keys.parse(&key), None);
        }
        for other in ["engines-2", "engines.b", "engines2"] {
            let gate = keys.jobs(other).unwrap().gate();
            let inside = queue.gate()..keys.after_job_queue("engines");
            assert!(!inside.contains(&gate), "{other}");
        }
        for wrong in ["", "a/b", "ä"] {
            assert_eq!(keys.jobs(wrong).unwrap_err().field, "queue");
        }
        assert!(queue.hold("a/b").is_err() && queue.idempotency("").is_err());
    }

    #[test]
    fn what_waits_sorts_by_priority_then_time_and_is_read_back() {
        let queue = keys().jobs("engines").unwrap();
        let sorted = [
            queue.ready(0, 5, ID),
            queue.ready(0, 10_000, ID),
            queue.after_priority(0),
            queue.ready(1, 0, ID),
            queue.ready(9, u64::MAX, ID),
            queue.after_priority(9),
        ];
        assert!(sorted.is_sorted());
        let read = queue.parse_ready(&sorted[1]).unwrap();
        let told = (read.priority, read.not_before_unix_ms, read.job_id);
        assert_eq!(told, (0, 10_000, ID));
        assert_eq!(queue.parse_ready(&sorted[2]), None);
        assert_eq!(queue.parse_slot(&queue.slot(41)), Some(41));
        let job = queue.job(ID);
        assert_eq!(JobKeys::job_id_below(&queue.all_open(), &job), Some(ID));
    }

    #[test]
    fn only_28_digits_name_a_job() {
        assert!(check_job_id(ID).is_ok());
        for wrong in ["", "0123", &ID.to_uppercase(), &format!("{ID}0")] {
            assert_eq!(check_job_id(wrong).unwrap_err().field, "job_id");
        }
    }
}
