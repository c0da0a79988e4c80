//! What keeps wishes and jobs of a service waiting, told when it begins and not at each look.

use weir_control_plane::jobs::Error;

use super::{EnginePlan, told};
use crate::config::ProvisionSettings;
use crate::events::Events;

/// Whether wishes of a service are refused because too many jobs are open.
#[derive(Default)]
pub(super) struct QueueWait {
    is_full: bool,
}

impl QueueWait {
    /// Takes what became of wishes.
    pub(super) fn look(
        &mut self,
        wished: &Result<(), Error>,
        engines: &EnginePlan,
        limits: &ProvisionSettings,
        events: &Events,
    ) {
        let is_full = matches!(wished, Err(Error::Full { .. }));
        let was_full = std::mem::replace(&mut self.is_full, is_full);
        if let (Err(error), true, false) = (wished, is_full, was_full) {
            told::queue_is_full(events, &engines.service, (error, limits));
        }
    }
}
