//! How a node was: numbers at places in time that are the same for every node and every life of it.
//!
//! Time is cut into slots of one interval, counted from 1970 ([`slot_at`]). A [`Ring`] holds one number for each slot
//! and series; what is kept is what can be added up, so rings of several nodes merge by slot, and a time in which
//! nobody counted is only a gap.

mod percentile;

pub use percentile::percentile;

/// The slot that holds a time in milliseconds since 1970. An interval of 0 counts as 1 ms.
pub fn slot_at(unix_ms: u64, interval_ms: u64) -> u64 {
    unix_ms / interval_ms.max(1)
}

/// The newest slots of a fixed number of series. Takes its memory when it is made, and none afterwards.
#[derive(Clone, Debug)]
pub struct Ring {
    width: usize,
    /// By slot, then by series.
    cells: Box<[u64]>,
    filled: Box<[bool]>,
    /// Of the oldest slot that is kept, filled or not.
    first: u64,
    /// After the newest one.
    next: u64,
}

impl Ring {
    /// A ring of `width` series with the newest `slots_max` slots of each, at least one. A number takes 8 bytes.
    pub fn new(width: usize, slots_max: usize) -> Self {
        let slots_max = slots_max.max(1);
        Self {
            width,
            cells: vec![0; width * slots_max].into_boxed_slice(),
            filled: vec![false; slots_max].into_boxed_slice(),
            first: 0,
            next: 0,
        }
    }

    /// Slots that are kept at most.
    pub fn slots_max(&self) -> usize {
        self.filled.len()
    }

    /// The oldest slot that is kept; that of [`Self::next_slot`] while there is none.
    pub fn first_slot(&self) -> u64 {
        self.first
    }

    /// The slot after the newest one; 0 before the first.
    pub fn next_slot(&self) -> u64 {
        self.next
    }

    /// Adds to what is there of a slot. A later slot than all before makes room for itself, with gaps between; one that
    /// is not kept any more is refused.
    ///
    /// # Panics
    /// Unless there is one number for each series.
    pub fn add(&mut self, slot: u64, numbers: &[u64]) -> bool {
        assert_eq!(numbers.len(), self.width, "one number for each series");
        if !self.make_room(slot) {
            return false;
        }
        let place = self.place(slot);
        let cells = &mut self.cells[place * self.width..][..self.width];
        for (cell, number) in cells.iter_mut().zip(numbers) {
            *cell = cell.saturating_add(*number);
        }
        self.filled[place] = true;
        true
    }

    /// The numbers of a slot; `None` when nobody counted then, or it is not kept.
    pub fn slot(&self, slot: u64) -> Option<&[u64]> {
        if !(self.first..self.next).contains(&slot) {
            return None;
        }
        let place = self.place(slot);
        self.filled[place].then(|| &self.cells[place * self.width..][..self.width])
    }

    /// A ring of another length with what fits of this one: the newest.
    #[must_use]
    pub fn resized(&self, slots_max: usize) -> Self {
        let mut resized = Self::new(self.width, slots_max);
        for slot in self.first..self.next {
            if let Some(numbers) = self.slot(slot) {
                resized.add(slot, numbers);
            }
        }
        resized
    }

    /// Sums of the filled slots among these, and how many they are.
    pub fn sum(&self, slots: std::ops::Range<u64>) -> (Vec<u64>, u64) {
        let mut sums = vec![0_u64; self.width];
        let mut count = 0;
        for slot in slots.start.max(self.first)..slots.end.min(self.next) {
            if let Some(numbers) = self.slot(slot) {
                count += 1;
                for (sum, number) in sums.iter_mut().zip(numbers) {
                    *sum = sum.saturating_add(*number);
                }
            }
        }
        (sums, count)
    }

    fn make_room(&mut self, slot: u64) -> bool {
        let length = self.filled.len() as u64;
        if self.next == 0 {
            (self.first, self.next) = (slot, slot);
        }
        if slot < self.next {
            // Before the first one is as good as not kept, unless there is room.
            let oldest = self.next.saturating_sub(length);
            if slot < oldest {
                return false;
            }
            self.first = self.first.min(slot);
            return true;
        }
        for new in self.next.max((slot + 1).saturating_sub(length))..=slot {
            let place = self.place(new);
            self.filled[place] = false;
            self.cells[place * self.width..][..self.width].fill(0);
        }
        self.next = slot + 1;
        self.first = self.first.max(self.next.saturating_sub(length));
        true
    }

    fn place(&self, slot: u64) -> usize {
        let length = self.filled.len() as u64;
        usize::try_from(slot % length).expect("a place is less than the length, which is a usize")
    }
}
