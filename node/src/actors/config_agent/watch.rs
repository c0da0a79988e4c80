//! Looks at the configuration file and offers what changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::ConfigAgentHandle;

/// How often the file is looked at. Reading it is cheap and works where notifications do not: on
/// network file systems, and where the file is a link that is swapped.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Offers the file's text whenever it differs from the text offered last, and at once on `look_now`.
pub async fn run(
    path: PathBuf,
    mut offered: String,
    agent: ConfigAgentHandle,
    look_now: Arc<Notify>,
) {
    let mut unreadable = false;
    loop {
        let forced = tokio::select! {
            biased;
            () = look_now.notified() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        };
        let text = match read(&path).await {
            Ok(text) => text,
            Err(error) => {
                if !unreadable || forced {
                    tracing::warn!(path = %path.display(), %error, "configuration not readable, the old one stays");
                }
                unreadable = true;
                continue;
            }
        };
        unreadable = false;
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

async fn read(path: &Path) -> std::io::Result<String> {
    let length = tokio::fs::metadata(path).await?.len();
    if length > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "{length} bytes is more than {FILE_BYTES_MAX}"
        )));
    }
    tokio::fs::read_to_string(path).await
}
