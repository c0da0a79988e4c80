//! What is said of log lines while the node runs.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Telemetry;
use crate::snapshot::Snapshot;

/// What is said of log lines while the node runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogTuning {
    /// Levels beside those of the start.
    pub levels: Arc<watch::Sender<Vec<String>>>,
    /// Lines of one query.
    pub lines_max: Snapshot<usize>,
}

impl LogTuning {
    /// What holds at the start.
    pub fn new(settings: &Telemetry) -> Self {
        Self {
            levels: Arc::new(watch::Sender::new(settings.log_levels.clone())),
            lines_max: Snapshot::new(settings.log_lines_max),
        }
    }

    /// What holds from now on.
    pub fn publish(&self, settings: &Telemetry) {
        self.levels.send_if_modified(|levels| {
            let is_new = *levels != settings.log_levels;
            levels.clone_from(&settings.log_levels);
            is_new
        });
        self.lines_max.publish(settings.log_lines_max);
    }
}
