//! A process that is killed in the middle of its writes.
//!
//! The pages it wrote survive it in the memory of the system, so this proves order and wholeness, not fsync.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use weir_control_plane::store::embedded::OpenError;
use weir_control_plane::store::limits::PAGE_ENTRIES_MAX;
use weir_control_plane::store::{List, Revision};

use crate::embedded_faults::{close, open, try_open};
use crate::support::{Shared, b, next_change, put_op, run, text, watch};

/// In the environment of the process that is killed: where it writes.
const WRITE_TO: &str = "WEIR_TEST_WRITE_TO";
const THIS: &str = "embedded_killed::killed_process_loses_nothing_it_acknowledged";
const ROUNDS: usize = 4;
const WRITERS: usize = 6;

/// Runs in the process that is killed: writes pairs for ever and says what was acknowledged.
async fn write_for_ever(folder: &Path) {
    let store = open(folder).await;
    say("open");
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        async move {
            for count in 0.. {
                let id = format!("{}-{writer}-{count}", std::process::id());
                let (left, right) = (format!("left/{id}"), format!("right/{id}"));
                run(&store, vec![put_op(&left, "v"), put_op(&right, "v")]).await;
                say(&format!("did {id}"));
            }
        }
    });
    futures::future::join_all(writers).await;
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").unwrap();
}

/// Starts the process, kills it in the middle of its writes and returns what it said.
async fn kill_in_the_middle(folder: &Path, lines_before: usize) -> Vec<String> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture"])
        .env(WRITE_TO, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut is_open = false;
    while said.len() < lines_before {
        let line = whole_line(&mut output).expect("it writes on");
        if line.ends_with("open") && !is_open {
            is_open = true;
            let locked = try_open(folder).await.unwrap_err();
            assert!(matches!(locked, OpenError::Locked { .. }), "{locked}");
        }
        said.extend(line.strip_prefix("did ").map(str::to_owned));
    }
    assert!(is_open);
    process.kill().unwrap();
    process.wait().unwrap();
    // What it managed to say before it died was acknowledged as well.
    while let Some(line) = whole_line(&mut output) {
        said.extend(line.strip_prefix("did ").map(str::to_owned));
    }
    said
}

/// A line with its end: a torn one acknowledges nothing.
fn whole_line(output: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(str::to_owned)
}

async fn all_below(store: &Shared, prefix: &str) -> BTreeSet<String> {
    let mut list = List {
        prefix: b(prefix),
        entries_max: PAGE_ENTRIES_MAX,
        ..List::default()
    };
    let mut found = BTreeSet::new();
    loop {
        let page = store.list(list.clone()).await.unwrap();
        list.after = page.entries.last().map(|entry| entry.key.clone());
        let ids = page.entries.iter().map(|entry| text(&entry.key));
        found.extend(ids.map(|key| key[prefix.len()..].to_owned()));
        if !page.more {
            return found;
        }
    }
}

#[tokio::test]
async fn killed_process_loses_nothing_it_acknowledged() {
    if let Some(folder) = std::env::var_os(WRITE_TO) {
        return write_for_ever(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        acknowledged.extend(kill_in_the_middle(folder.path(), 60 + 37 * round).await);
        let store = open(folder.path()).await;
        let (left, right) = (
            all_below(&store, "left/").await,
            all_below(&store, "right/").await,
        );
        assert_eq!(left, right, "a transaction is whole");
        let lost: Vec<_> = acknowledged.difference(&left).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        let revision = store.status().await.unwrap().revision;
        assert_eq!(revision.0, 1 + left.len() as u64, "one revision for each");
        let mut watch = watch(&store, "left/", Revision(2)).await;
        for _ in 0..left.len() {
            next_change(&mut watch).await.unwrap();
        }
        drop(watch);
        close(store, folder.path()).await;
    }
    assert!(acknowledged.len() > 300);
}
