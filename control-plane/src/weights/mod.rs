//! Weights: per service, the share of new work that each backend gets.
//!
//! One record a service, written with the same rules as profiles: over what the writer saw, once for each write id,
//! with its audit record in the same transaction. Only the last write id of a service is kept: sent again after
//! somebody else wrote, a write without an expected revision is made again.

mod known;
mod record;
mod set;

use std::sync::Arc;

use weir_core::calendar::rfc3339;
use weir_core::tuning::Problem;

use crate::keys::{Key, Keys};
use crate::problem::one_line;
use crate::profiles::quoted;
use crate::records;
use crate::store::{self, Pages, Store};

pub use known::warnings;
pub use record::ServiceWeights;
pub use set::SET_LIMIT;

/// Largest weight.
pub const WEIGHT_MAX: u32 = 65_535;
/// Most backends of one service that have a weight.
pub const BACKENDS_MAX: usize = 10_000;
/// Longest name of a backend.
pub const BACKEND_BYTES_MAX: usize = 255;
/// Most services that have weights.
pub const SERVICES_MAX: usize = 1_000;

/// Why weights are not read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is there cannot be read.
    #[error("the weights of {service} cannot be read")]
    Unreadable {
        /// Whose.
        service: String,
        /// Why.
        #[source]
        source: records::Error,
    },
}

/// Why weights are not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SetError {
    /// The request is wrong; all of what is wrong.
    #[error("the weights are refused: {}", one_line(.0))]
    Problems(Vec<Problem>),
    /// Somebody else was faster.
    #[error("{}", lost(.expected, .winner))]
    Lost {
        /// The revision that the writer saw.
        expected: u64,
        /// The newest one; of revision 0 if there is none.
        winner: Box<ServiceWeights>,
    },
    /// The store cannot be read, or refused the write; nothing was written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Others wrote all the time; nothing was written.
    #[error("others wrote all the time; nothing was written")]
    Contended,
    /// The answer was lost: it may have been written or not.
    #[error(
        "it may have been written or not; sent again with the same write id it is written once"
    )]
    Uncertain(#[source] store::Error),
}

fn lost(expected: &u64, winner: &ServiceWeights) -> String {
    if winner.revision == 0 {
        return format!(
            "{} has no weights, so no revision {expected}",
            winner.service
        );
    }
    format!(
        "the weights of {} are at revision {}, not {expected}: {} wrote them at {}{}",
        winner.service,
        winner.revision,
        winner.author,
        rfc3339(winner.written_at_unix_ms),
        quoted(&winner.message)
    )
}

/// Reads and writes weights in a store. Cheap to clone.
#[derive(Clone)]
pub struct WeightStore {
    store: Arc<dyn Store>,
    keys: Keys,
}

impl std::fmt::Debug for WeightStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightStore")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl WeightStore {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Self {
        Self { store, keys }
    }

    /// The weights of a service; [`ServiceWeights::none`] if it has none.
    ///
    /// # Errors
    /// When the store does not answer or the record cannot be read.
    pub async fn get(&self, service: &str) -> Result<ServiceWeights, ReadError> {
        let (weights, _) = self.newest(service).await?;
        Ok(weights)
    }

    /// The weights of every service that has some, in order of services. A record that cannot be read is left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<ServiceWeights>, ReadError> {
        let mut pages = Pages::below(&*self.store, self.keys.weights());
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            found.extend(page.entries.iter().filter_map(|entry| {
                let Key::Weights { service } = self.keys.parse(&entry.key)? else {
                    return None;
                };
                ServiceWeights::read(entry, service).ok()
            }));
            if found.len() >= SERVICES_MAX {
                break;
            }
        }
        found.truncate(SERVICES_MAX);
        Ok(found)
    }

    /// The weights, and the store's revision that put them.
    async fn newest(&self, service: &str) -> Result<(ServiceWeights, u64), ReadError> {
        let Ok(key) = self.keys.of(&Key::Weights { service }) else {
            return Ok((ServiceWeights::none(service), 0));
        };
        match self.store.get(key, None).await? {
            None => Ok((ServiceWeights::none(service), 0)),
            Some(entry) => {
                let read = ServiceWeights::read(&entry, service);
                let weights = read.map_err(|source| ReadError::Unreadable {
                    service: service.to_owned(),
                    source,
                })?;
                Ok((weights, entry.mod_revision.0))
            }
        }
    }
}
