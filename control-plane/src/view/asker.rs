//! Asks the store whether it answers, when somebody must know that what was read is what there is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::keys::{Key, Keys};
use crate::store::Store;

/// However many ask, the store is asked this often at most.
const EVERY: Duration = Duration::from_secs(1);

/// The one who asks. Cheap to clone.
#[derive(Clone)]
pub struct Asker {
    wanted: Arc<Notify>,
    answered: watch::Receiver<Option<Instant>>,
}

impl Asker {
    /// Asks nothing until somebody wants it.
    pub fn start(store: &Arc<dyn Store>, keys: &Keys, tasks: &mut JoinSet<()>) -> Self {
        let (out, answered) = watch::channel(None);
        let wanted = Arc::new(Notify::new());
        tasks.spawn(run(
            Arc::clone(store),
            keys.clone(),
            Arc::clone(&wanted),
            out,
        ));
        Self { wanted, answered }
    }

    /// Has the store asked, soon.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Whether the store answered what it was asked at `since` or later.
    pub fn has_answered(&self, since: Instant) -> bool {
        self.answered.borrow().is_some_and(|asked| asked >= since)
    }
}

async fn run(
    store: Arc<dyn Store>,
    keys: Keys,
    wanted: Arc<Notify>,
    out: watch::Sender<Option<Instant>>,
) {
    let key = keys.of(&Key::Epoch).expect("it has no names in it");
    loop {
        wanted.notified().await;
        let asked = Instant::now();
        if store.get(key.clone(), None).await.is_ok() {
            out.send_replace(Some(asked));
        }
        sleep(EVERY).await;
    }
}
