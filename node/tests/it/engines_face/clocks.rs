//! The system's clock is set, forward and back, while engines run and between two lives of a node.

use std::path::{Path, PathBuf};

use weir_proto::node::v1 as pb;

use super::{engines, ready};
use crate::common::Weir;

/// The system's clock as a node reads it.
pub struct SystemClock {
    offset: PathBuf,
}

impl SystemClock {
    pub fn new(folder: &Path) -> Self {
        let clock = Self {
            offset: folder.join("offset"),
        };
        clock.set("+0");
        clock
    }

    /// Sets it so far from the right time, such as `-1d`.
    pub fn set(&self, offset: &str) {
        // Whole or not at all: a node may read it at any time.
        let next = self.offset.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, &self.offset).unwrap();
    }

    /// For a process to read this one. Timers go on as they are: no step moves the monotonic clock.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

fn library() -> &'static str {
    let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let path = format!("{folder}/libfaketimeMT.so.1");
    assert!(
        Path::new(&path).exists(),
        "{path}: apt-get install libfaketime"
    );
    path.leak()
}

/// Engines by id, with the process that each is.
fn processes(engines: &[pb::Engine]) -> Vec<(String, u32)> {
    let mut all: Vec<_> = engines
        .iter()
        .map(|one| (one.id.clone(), one.pid))
        .collect();
    all.sort();
    all
}

/// The year of the newest line of the log.
fn year(weir: &Weir) -> u32 {
    let log = weir.log();
    let line = log.lines().last().expect("it logs");
    let year = line.split('-').next().unwrap();
    year.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn a_clock_that_is_set_forward_or_back_neither_loses_nor_doubles_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::new(folder.path());
    let config = engines(1, 4);
    let mut weir = Weir::start_in("", &config, &clock.environment()).await;
    let mut before = processes(&ready(&weir, 1).await);
    let this_year = year(&weir);

    for (offset, min) in [("+400d", 2), ("-800d", 3)] {
        clock.set(offset);
        weir.edit(&config.replace("min = 1", &format!("min = {min}")));
        let after = processes(&ready(&weir, min).await);
        assert!(
            before.iter().all(|one| after.contains(one)),
            "{offset}: {after:?}, {}",
            weir.log()
        );
        before = after;
    }
    assert!(
        year(&weir) < this_year,
        "the clock was not set: {}",
        weir.log()
    );

    for offset in ["+400d", "-800d"] {
        // Processes end with their node; their slots and jobs are in the store.
        weir.crash().await;
        clock.set(offset);
        weir.start_again().await;
        let after = processes(&ready(&weir, 3).await);
        let ids = |all: &[(String, u32)]| all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&after), ids(&before), "{offset}: {}", weir.log());
        before = after;
    }
    weir.edit(&config.replace("min = 1", "min = 4"));
    let after = processes(&ready(&weir, 4).await);
    assert!(
        before.iter().all(|one| after.contains(one)),
        "{after:?}, {}",
        weir.log()
    );
}
