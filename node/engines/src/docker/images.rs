//! Whether an engine runs what its image's name means by now.

use super::client::Failure;
use super::seen::Engine;
use super::{Docker, spec};
use crate::driver::Error;

/// How an engine's image and that image's name agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The name still means what runs.
    None,
    /// The name means another image by now: the engine is out of date.
    Moved {
        /// What the engine runs.
        runs: String,
        /// What the name means.
        now: String,
    },
    /// Nothing on this machine has the name any more.
    Gone {
        /// What the engine runs.
        runs: String,
    },
}

impl Docker {
    /// What an image's name means on this machine now; `None` when nothing has that name. No registry is asked.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn image_digest(&self, image: &str) -> Result<Option<String>, Error> {
        const OPERATION: &str = "looking at an image";
        spec::check_image(image)?;
        let asked = self
            .client
            .call(OPERATION, self.answer_limit, async |docker| {
                docker.inspect_image(image).await
            });
        match asked.await {
            Ok(found) => Ok(found.id),
            Err(Failure::Said { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure.refused(OPERATION)),
        }
    }

    /// Whether the name of an engine's image points to something else than what the engine runs.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such engine, and what keeps it from being known.
    pub async fn drift(&self, name: &str) -> Result<Drift, Error> {
        let Some(Engine { running, image, .. }) = self.engine(name).await? else {
            return Err(Error::Unknown(name.to_owned()));
        };
        let runs = running.image_digest.unwrap_or_default();
        Ok(match self.image_digest(&image).await? {
            Some(now) if now == runs => Drift::None,
            Some(now) => Drift::Moved { runs, now },
            None => Drift::Gone { runs },
        })
    }
}
