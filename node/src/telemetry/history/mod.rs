//! How the node was: samples of what it counts, at multiples of an interval of the wall clock.
//!
//! [`layout`] says what a sample holds, [`sampler`] takes one for each slot, and this keeps the newest. Memory is taken
//! when it begins and when it is tuned: 8 bytes for each number of [`layout::WIDTH`].

pub mod layout;
pub mod sampler;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_core::series::Ring;

use super::process::Process;
use crate::config::HistorySettings;

/// What is kept of how the node was. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    settings: Arc<watch::Sender<HistorySettings>>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    interval_ms: u64,
    ring: Ring,
    /// At the last sample.
    process: Process,
}

impl Kept {
    fn new(settings: HistorySettings) -> Self {
        Self {
            interval_ms: settings.interval_ms(),
            ring: Ring::new(layout::WIDTH, settings.samples_max),
            process: Process::default(),
        }
    }
}

impl History {
    /// Nothing yet.
    pub fn new(settings: HistorySettings) -> Self {
        Self {
            settings: Arc::new(watch::Sender::new(settings)),
            kept: Arc::new(Mutex::new(Kept::new(settings))),
        }
    }

    /// What holds from the next sample on.
    pub fn configure(&self, settings: HistorySettings) {
        self.settings
            .send_if_modified(|now| std::mem::replace(now, settings) != settings);
    }

    /// The settings in force.
    pub fn settings(&self) -> HistorySettings {
        *self.settings.borrow()
    }

    /// Looks at what is kept, and at its interval in milliseconds. Samples wait meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Ring, u64) -> T) -> T {
        let kept = self.kept.lock();
        look(&kept.ring, kept.interval_ms)
    }

    /// What the process used at the last sample.
    pub fn process(&self) -> Process {
        self.kept.lock().process
    }

    /// Keeps a sample.
    pub fn add(&self, slot: u64, sample: &[u64; layout::WIDTH], process: Process) {
        let mut kept = self.kept.lock();
        kept.ring.add(slot, sample);
        kept.process = process;
    }

    /// Keeps as much as the settings say. With another interval history begins anew: slots of two do not compare.
    fn apply(&self, settings: HistorySettings) {
        let mut kept = self.kept.lock();
        if kept.interval_ms != settings.interval_ms() {
            *kept = Kept::new(settings);
        } else if kept.ring.slots_max() != settings.samples_max {
            kept.ring = kept.ring.resized(settings.samples_max);
        }
    }
}
