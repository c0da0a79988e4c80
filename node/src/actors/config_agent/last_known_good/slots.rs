//! What the two slots hold, without the payloads.

use weir_core::probation::{ContentHash, InForce, Slot};

use super::error::Error;
use super::files::{Files, replace};
use super::records::{SlotRecord, checksum};

/// The files.
pub(super) const NAMES: [&str; 2] = ["lkg-a", "lkg-b"];

/// What is known of a slot without reading it again.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    epoch: String,
    payload_sum: [u8; 32],
}

impl Held {
    pub(super) fn of(record: &SlotRecord) -> Self {
        Self {
            slot: Slot {
                content: record.content,
                sequence: record.sequence,
                epoch: number_of(&record.epoch),
            },
            epoch: record.epoch.clone(),
            payload_sum: checksum(&record.payload),
        }
    }

    /// Whether it holds all this already.
    pub(super) fn is(&self, hash: ContentHash, epoch: &str, payload_sum: [u8; 32]) -> bool {
        self.slot.content.hash == hash && self.epoch == epoch && self.payload_sum == payload_sum
    }
}

/// Both slots; `None` is empty or not intact.
#[derive(Default)]
pub(super) struct Slots(pub(super) [Option<Held>; 2]);

impl Slots {
    pub(super) fn of(records: &[Option<SlotRecord>; 2]) -> Self {
        Self(
            records
                .each_ref()
                .map(|record| record.as_ref().map(Held::of)),
        )
    }

    /// The facts that decisions need.
    pub(super) fn facts(&self) -> [Option<Slot>; 2] {
        self.0
            .each_ref()
            .map(|held| held.as_ref().map(|held| held.slot))
    }

    /// Where the newest one that `which` is true for is.
    pub(super) fn newest(&self, which: impl Fn(&Held) -> bool) -> Option<(usize, &Held)> {
        let held = self.0.iter().enumerate();
        held.filter_map(|(at, held)| Some((at, held.as_ref()?)))
            .filter(|(_, held)| which(held))
            .max_by_key(|(_, held)| held.slot.sequence)
    }

    /// Whether one of them says that this content is good.
    pub(super) fn is_good(&self, hash: ContentHash) -> bool {
        let good = InForce { hash, good: true };
        self.newest(|held| held.slot.content == good).is_some()
    }

    /// Where content goes: beside the newest good slot; without one, beside the newest other content that is
    /// not `refused`, which is what was in force before.
    pub(super) fn place_for(
        &self,
        hash: ContentHash,
        refused: impl Fn(ContentHash) -> bool,
    ) -> usize {
        let other = |held: &Held| held.slot.content.hash != hash;
        let kept = self.newest(|held| held.slot.content.good);
        kept.or_else(|| self.newest(|held| other(held) && !refused(held.slot.content.hash)))
            .or_else(|| self.newest(|_| true))
            .map_or(0, |(kept, _)| 1 - kept)
    }

    /// Writes a slot.
    pub(super) fn write(
        &mut self,
        files: &dyn Files,
        at: usize,
        record: &SlotRecord,
    ) -> Result<(), Error> {
        let file = NAMES[at];
        replace(files, file, &record.encode()).map_err(|source| Error::Write { file, source })?;
        self.0[at] = Some(Held::of(record));
        Ok(())
    }
}

/// Tells epochs apart where their texts are in nobody's way.
fn number_of(epoch: &str) -> u64 {
    let sum = checksum(epoch.as_bytes());
    sum.iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
