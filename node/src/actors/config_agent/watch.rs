//! Looks at the configuration file and offers what changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use weir_core::units::format_rough;

use super::ConfigAgentHandle;

/// How often the file is looked at. Reading it is cheap and works where notifications do not: on
/// network file systems, and where the file is a link that is swapped.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    path: PathBuf,
    why: String,
    since: Instant,
}

impl Unreadable {
    /// What is wrong, for people.
    pub fn problem(&self) -> String {
        let lasted = format_rough(Duration::from_secs(self.since.elapsed().as_secs()));
        format!(
            "configuration file {} cannot be read for {lasted}: {}; what is in force goes on",
            self.path.display(),
            self.why
        )
    }
}

/// Offers the file's text whenever it differs from the text offered last, and at once on `look_now`.
pub async fn run(
    path: PathBuf,
    mut offered: String,
    agent: ConfigAgentHandle,
    look_now: Arc<Notify>,
) {
    loop {
        let forced = tokio::select! {
            biased;
            () = look_now.notified() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        };
        let text = read(&path).await;
        tell(&agent, &path, text.as_ref().err(), forced);
        let Ok(text) = text else { continue };
        if text == offered && !forced {
            continue;
        }
        match agent.offer(text.clone()).await {
            Ok(Ok(applied)) => {
                tracing::info!(revision = applied.revision, "configuration applied");
                offered = text;
            }
            Ok(Err(rejected)) => {
                tracing::error!("{rejected}");
                offered = text;
            }
            // Offered again at the next look.
            Err(refused) => tracing::warn!(%refused, "configuration not offered"),
        }
    }
}

/// Publishes whether the file can be read, and logs what changed, or again where somebody asked.
fn tell(agent: &ConfigAgentHandle, path: &Path, error: Option<&io::Error>, forced: bool) {
    let before = agent.unreadable.load();
    let before = before.as_ref().as_ref();
    let Some(error) = error else {
        if before.is_some() {
            tracing::info!(path = %path.display(), "configuration readable again");
            agent.unreadable.publish(None);
        }
        return;
    };
    if before.is_none() || forced {
        tracing::warn!(path = %path.display(), %error, "configuration not readable, the old one stays");
    }
    agent.unreadable.publish(Some(Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
        since: before.map_or_else(Instant::now, |before| before.since),
    }));
}

async fn read(path: &Path) -> io::Result<String> {
    let length = tokio::fs::metadata(path).await?.len();
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{length} bytes is more than {FILE_BYTES_MAX}"
        )));
    }
    tokio::fs::read_to_string(path).await
}
