//! Answers to who asks for lines, kept for who asks the same of the same file again.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use weir_core::logs::{Judged, Query};
use weir_proto::node::v1::LogLine;

use super::Logs;
use super::decode::decode;
use super::file::LogFiles;
use super::read::{self, ANSWER_BYTES_MAX, Tail};
use crate::logs::rotate::{FileId, Position};

/// Answers that are kept.
const ANSWERS_MAX: usize = 8;
/// A disk that does not answer in this time has no lines.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What an answer holds for: this question, of this file as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: FileId,
    modified_ns: i128,
    bytes: u64,
    position: Option<(FileId, u64)>,
    query: Query,
}

/// The last answers, the newest last.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<VecDeque<(Key, Arc<Answer>)>>);

#[derive(Debug, Default)]
struct Answer {
    /// The oldest first.
    lines: Vec<LogLine>,
    is_cut: bool,
    bytes_read: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The oldest first.
    pub lines: Vec<LogLine>,
    /// There are more, or may be: not all that is kept was looked at.
    pub is_cut: bool,
    /// Bytes that were read from files.
    pub bytes_read: u64,
    /// The number of the newest line that was looked at.
    pub last: u64,
}

/// Lines that were written after others.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Those that are wanted, the oldest first.
    pub lines: Vec<LogLine>,
    /// Lines that are gone, wanted or not.
    pub missed: u64,
    /// The number of the last.
    pub last: u64,
}

impl Cache {
    fn get(&self, key: &Key) -> Option<Arc<Answer>> {
        let answers = self.0.lock();
        let found = answers.iter().find(|(known, _)| known == key);
        found.map(|(_, answer)| Arc::clone(answer))
    }

    fn put(&self, key: Key, answer: Arc<Answer>) {
        let mut answers = self.0.lock();
        answers.retain(|(known, _)| known.query != key.query);
        answers.push_back((key, answer));
        if answers.len() > ANSWERS_MAX {
            answers.pop_front();
        }
    }
}

impl Logs {
    /// The newest lines that are wanted, of the file where there is one, else of what is in memory.
    pub async fn find(&self, node: &str, query: &Query) -> Found {
        let oldest = query.oldest(self.0.clock.unix_ms_now());
        let (last, position, remembered) = {
            let kept = self.0.kept.lock().await;
            let remembered = match self.files() {
                Some(_) => None,
                None => {
                    let lines = kept.newest().map(|line| line.as_bytes());
                    Some(of_memory(lines, kept.forgot(), query, oldest.as_deref()))
                }
            };
            (kept.last(), kept.position(), remembered)
        };
        let (answer, is_known) = match (remembered, self.files()) {
            (Some(tail), _) => (Arc::new(Answer::of(node, tail)), false),
            (None, Some(files)) => self.of_files(node, files, position, query, oldest).await,
            (None, None) => Default::default(),
        };
        // Of an answer that was kept some may have become too old.
        let is_old = |line: &&LogLine| match query.since {
            Some(since) if line.at_unix_ms > 0 => {
                let age_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                line.at_unix_ms < self.0.clock.unix_ms_now().saturating_sub(age_ms)
            }
            _ => false,
        };
        Found {
            lines: answer.lines.iter().skip_while(is_old).cloned().collect(),
            is_cut: answer.is_cut,
            bytes_read: if is_known { 0 } else { answer.bytes_read },
            last,
        }
    }

    async fn of_files(
        &self,
        node: &str,
        files: LogFiles,
        position: Option<Position>,
        query: &Query,
        oldest: Option<String>,
    ) -> (Arc<Answer>, bool) {
        let (logs, node, query) = (self.clone(), node.to_owned(), query.clone());
        let read = move || {
            let key = key(&files, position, &query);
            if let Some(known) = key.as_ref().and_then(|key| logs.0.cache.get(key)) {
                return (known, true);
            }
            let tail = read::tail(&files, position, &query, oldest.as_deref());
            let answer = Arc::new(Answer::of(&node, tail));
            if let Some(key) = key {
                logs.0.cache.put(key, Arc::clone(&answer));
            }
            (answer, false)
        };
        let reads = Arc::clone(&self.0.reads);
        let done = timeout(READ_TIMEOUT, async {
            let turn = reads.acquire_owned().await.ok()?;
            // Its turn ends with the reading, also when nobody waits for that any more.
            let read = move || {
                let _turn = turn;
                read()
            };
            tokio::task::spawn_blocking(read).await.ok()
        });
        match done.await {
            Ok(Some(answer)) => answer,
            _ => {
                let nothing = Answer {
                    is_cut: true,
                    ..Answer::default()
                };
                (Arc::new(nothing), false)
            }
        }
    }

    /// Lines after that number that are wanted.
    pub async fn after(&self, node: &str, query: &Query, number: u64) -> Page {
        let kept = self.0.kept.lock().await;
        let (lines, missed) = kept.after(number);
        let wanted = |line: &Arc<str>| {
            let line = line.as_bytes();
            (query.judge(line, None) == Judged::Wanted).then(|| decode(node, line))
        };
        Page {
            lines: lines.iter().filter_map(wanted).collect(),
            missed,
            last: kept.last(),
        }
    }

    /// Wakes when there are more lines; its value is the number of the last.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }
}

impl Answer {
    fn of(node: &str, tail: Tail) -> Self {
        let lines = tail.lines.iter().rev();
        Self {
            lines: lines.map(|line| decode(node, line)).collect(),
            is_cut: tail.is_cut,
            bytes_read: tail.bytes_read,
        }
    }
}

/// `None` when there is no file.
fn key(files: &LogFiles, position: Option<Position>, query: &Query) -> Option<Key> {
    let metadata = std::fs::metadata(files.path()).ok()?;
    let modified_ns =
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Some(Key {
        id: FileId::of(&metadata),
        modified_ns,
        bytes: metadata.len(),
        position: position.map(|position| (position.id, position.bytes)),
        query: query.clone(),
    })
}

fn of_memory<'a>(
    newest: impl Iterator<Item = &'a [u8]>,
    forgot: bool,
    query: &Query,
    oldest: Option<&str>,
) -> Tail {
    let mut tail = Tail {
        is_cut: forgot,
        ..Tail::default()
    };
    let mut bytes = 0;
    for line in newest {
        match query.judge(line, oldest) {
            // All before it are too old as well: nothing is missing.
            Judged::TooOld => {
                tail.is_cut = false;
                break;
            }
            Judged::Unwanted => {}
            Judged::Wanted => {
                bytes += line.len();
                if tail.lines.len() == query.lines_max || bytes > ANSWER_BYTES_MAX {
                    tail.is_cut = true;
                    break;
                }
                tail.lines.push(line.to_vec());
            }
        }
    }
    tail
}
