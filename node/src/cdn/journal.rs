//! What CDNs have not taken yet, on disk.
//!
//! A line for each purge that was added and for each one that is done, each with its checksum. A line that a crash cut
//! off is the last one and is dropped: nobody was told that it was there. Another line that is damaged may have been of
//! any purge, which is told. When most lines are of what is done, the file is written anew beside itself and renamed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::purge::Hardness;
use weir_core::surrogate::{CdnPurge, CdnScope};

/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A file is not written anew before it has as many bytes.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// URLs may hold what is nobody else's business.
const MODE: u32 = 0o600;

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A purge waits for a CDN.
    Added(String, u64, CdnPurge),
    /// These of a CDN wait no more.
    Done(String, Vec<u64>),
}

/// As a line says it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Added {
        cdn: String,
        number: u64,
        what: String,
        value: String,
        soft: bool,
    },
    Done {
        cdn: String,
        numbers: Vec<u64>,
    },
}

/// What waits, by CDN and number.
type Waiting = BTreeMap<(String, u64), CdnPurge>;

/// The file. Every call may wait for the disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    waiting: Waiting,
    /// Bytes when it was written anew last.
    bytes_then: u64,
    lost_lines: usize,
}

/// What lines say together.
#[derive(Debug, Default)]
struct Replayed {
    waiting: Waiting,
    /// Bytes before a line that was cut off.
    whole_bytes: u64,
    /// Lines that are damaged.
    lost_lines: usize,
}

impl Journal {
    /// Opens the journal in a folder, and makes both where they are not there.
    ///
    /// # Errors
    /// [`JournalError`]: what is there cannot be read or is none.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join("cdn-purges");
        let opened = fs::create_dir_all(folder).and_then(|()| Self::read(&path));
        opened.map_err(|source| JournalError { path, source })
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE);
        let mut file = options.open(path)?;
        let bytes = file.metadata()?.len();
        if bytes > FILE_BYTES_MAX {
            let why = format!("{bytes} bytes, at most {FILE_BYTES_MAX} are read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let replayed = replay(&text);
        if replayed.whole_bytes < bytes {
            file.set_len(replayed.whole_bytes)?;
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
            bytes: replayed.whole_bytes,
            bytes_then: 0,
            waiting: replayed.waiting,
            lost_lines: replayed.lost_lines,
        };
        journal.rewrite()?;
        Ok(journal)
    }

    /// Lines that were damaged when it was opened. They may have been of any purge for any CDN.
    pub fn lost_lines(&self) -> usize {
        self.lost_lines
    }

    /// What waited when it was opened or written last.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, u64, &CdnPurge)> {
        let waiting = self.waiting.iter();
        waiting.map(|((cdn, number), purge)| (&**cdn, *number, purge))
    }

    /// Writes records, down to the disk.
    ///
    /// # Errors
    /// [`JournalError`]: none of them is certain to be there.
    pub fn write(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        self.append(records).map_err(|source| JournalError {
            path: self.path.clone(),
            source,
        })
    }

    fn append(&mut self, records: Vec<Record>) -> io::Result<()> {
        let mut text = Vec::new();
        for record in &records {
            push_line(&mut text, record)?;
        }
        let written = self
            .file
            .write_all(&text)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would hide what comes after it.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += text.len() as u64;
        for record in records {
            apply(&mut self.waiting, record);
        }
        if self.bytes > REWRITE_BYTES_MIN && self.bytes > 2 * self.bytes_then {
            self.rewrite()?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        for ((cdn, number), purge) in &self.waiting {
            let record = Record::Added(cdn.clone(), *number, purge.clone());
            push_line(&mut text, &record)?;
        }
        let beside = self.path.with_extension("new");
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create_new(true)
            .mode(MODE)
            .open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = file;
        self.bytes = text.len() as u64;
        self.bytes_then = self.bytes.max(REWRITE_BYTES_MIN / 2);
        Ok(())
    }
}

fn push_line(text: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    let json = serde_json::to_string(&Line::of(record))?;
    writeln!(text, "{:08x} {json}", crc32fast::hash(json.as_bytes()))
}

fn replay(text: &[u8]) -> Replayed {
    let mut replayed = Replayed::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        replayed.whole_bytes += line.len() as u64;
        match read_line(line) {
            Some(record) => apply(&mut replayed.waiting, record),
            None => replayed.lost_lines += 1,
        }
    }
    replayed
}

fn read_line(line: &[u8]) -> Option<Record> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, json) = line.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(json.as_bytes()) {
        return None;
    }
    serde_json::from_str::<Line>(json).ok()?.record()
}

fn apply(waiting: &mut Waiting, record: Record) {
    match record {
        Record::Added(cdn, number, purge) => {
            waiting.insert((cdn, number), purge);
        }
        Record::Done(cdn, numbers) => {
            for number in numbers {
                waiting.remove(&(cdn.clone(), number));
            }
        }
    }
}

impl Line {
    fn of(record: &Record) -> Self {
        match record {
            Record::Added(cdn, number, purge) => {
                let (what, value) = match &purge.scope {
                    CdnScope::Url(url) => ("url", &**url),
                    CdnScope::Tag(tag) => ("tag", &**tag),
                    CdnScope::Prefix(prefix) => ("prefix", &**prefix),
                    CdnScope::Host(host) => ("host", &**host),
                    CdnScope::All => ("all", ""),
                };
                Self::Added {
                    cdn: cdn.clone(),
                    number: *number,
                    what: what.to_owned(),
                    value: value.to_owned(),
                    soft: purge.hardness == Hardness::Soft,
                }
            }
            Record::Done(cdn, numbers) => Self::Done {
                cdn: cdn.clone(),
                numbers: numbers.clone(),
            },
        }
    }

    fn record(self) -> Option<Record> {
        match self {
            Self::Done { cdn, numbers } => Some(Record::Done(cdn, numbers)),
            Self::Added {
                cdn,
                number,
                what,
                value,
                soft,
            } => {
                let scope = match &*what {
                    "url" => CdnScope::Url(value),
                    "tag" => CdnScope::Tag(value),
                    "prefix" => CdnScope::Prefix(value),
                    "host" => CdnScope::Host(value),
                    "all" => CdnScope::All,
                    _ => return None,
                };
                let hardness = if soft { Hardness::Soft } else { Hardness::Hard };
                Some(Record::Added(cdn, number, CdnPurge { scope, hardness }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(number: u64) -> Record {
        let purge = CdnPurge {
            scope: CdnScope::Tag(format!("tag \"{number}\"\n")),
            hardness: Hardness::Soft,
        };
        Record::Added("front".to_owned(), number, purge)
    }

    fn numbers(journal: &Journal) -> Vec<u64> {
        journal.waiting().map(|(_, number, _)| number).collect()
    }

    #[test]
    fn what_was_not_done_is_there_after_a_crash_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdn-purges");
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.write(vec![added(1), added(2)]).unwrap();
        let done = Record::Done("front".to_owned(), vec![1]);
        journal.write(vec![done, added(3)]).unwrap();
        assert_eq!(numbers(&journal), [2, 3]);
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        for cut in last..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(folder.path()).unwrap();
            assert_eq!(numbers(&journal), [2], "cut at {cut}");
            // What is written next is found.
            journal.write(vec![added(9)]).unwrap();
            drop(journal);
            assert_eq!(numbers(&Journal::open(folder.path()).unwrap()), [2, 9]);
        }
    }

    #[test]
    fn damage_is_told_and_costs_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.write(vec![added(1), added(2), added(3)]).unwrap();
        drop(journal);
        let path = folder.path().join("cdn-purges");
        let mut bytes = fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!((numbers(&journal), journal.lost_lines()), (vec![1, 3], 1));
        drop(journal);
        // It is told once: whoever was told has asked for more than what was lost.
        assert_eq!(Journal::open(folder.path()).unwrap().lost_lines(), 0);
    }

    #[test]
    fn nobody_else_may_read_it_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "theirs").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("cdn-purges.new")).unwrap();
        drop(Journal::open(folder.path()).unwrap());
        let path = folder.path().join("cdn-purges");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(other).unwrap(), "theirs");
    }

    #[test]
    fn a_file_of_what_is_done_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.write(vec![added(0)]).unwrap();
        for number in 1..200 {
            let batch = (0..100).map(|n| added(number * 100 + n)).collect();
            journal.write(batch).unwrap();
            let done = (0..100).map(|n| number * 100 + n).collect();
            journal
                .write(vec![Record::Done("front".to_owned(), done)])
                .unwrap();
        }
        let bytes = fs::metadata(folder.path().join("cdn-purges"))
            .unwrap()
            .len();
        assert!(bytes < 3 << 20, "{bytes}");
        drop(journal);
        assert_eq!(numbers(&Journal::open(folder.path()).unwrap()), [0]);
    }
}
