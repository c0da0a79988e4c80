//! Small files that were asked for lately.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use weir_core::content_coding::AcceptEncoding;
use weir_core::files::{Stamp, Wanted};
use weir_core::ids::ServiceName;

use super::disk::{Content, SMALL_BYTES_MAX};
use super::head::{Facts, Looked};
use crate::config::FilesSettings;

/// Bytes of one generation; there are two on each core.
const GENERATION_BYTES_MAX: u64 = 4 << 20;
/// What an entry takes beside its name and its contents, about.
const OVERHEAD_BYTES: u64 = 512;

/// What is known of one path.
#[derive(Debug)]
pub(super) struct Entry {
    settings: Arc<FilesSettings>,
    pub(super) looked_at: Instant,
    facts: Facts,
    /// Of those variants that were asked for and are small.
    pub(super) contents: Vec<(Stamp, Bytes)>,
}

impl Entry {
    /// What was found at `looked_at`, with contents that were known before and are still those of a variant.
    pub(super) fn new(
        settings: Arc<FilesSettings>,
        looked_at: Instant,
        looked: &Looked,
        known: Vec<(Stamp, Bytes)>,
    ) -> Self {
        let mut contents = known;
        let variants = &looked.facts.variants;
        contents
            .retain(|(of, _)| *of != looked.stamp && variants.iter().any(|(_, stamp)| stamp == of));
        if let Content::Memory(bytes) = &looked.content {
            contents.push((looked.stamp, bytes.clone()));
        }
        Self {
            settings,
            looked_at,
            facts: looked.facts.clone(),
            contents,
        }
    }

    /// What a client gets that takes these codings, if its bytes are here.
    pub(super) fn look(&self, accept: &AcceptEncoding) -> Option<Looked> {
        let (coding, stamp) = self.facts.choose(accept);
        let (_, bytes) = self.contents.iter().find(|(of, _)| *of == stamp)?;
        Some(Looked {
            facts: self.facts.clone(),
            coding,
            stamp,
            content: Content::Memory(bytes.clone()),
        })
    }

    fn bytes(&self) -> u64 {
        let contents = self.contents.iter().map(|(_, bytes)| bytes.len() as u64);
        contents.sum::<u64>() + OVERHEAD_BYTES
    }
}

/// How a path of a service is found.
pub(super) fn key(service: &ServiceName, wanted: &Wanted) -> Vec<u8> {
    let end: &[u8] = if wanted.is_directory { b"/" } else { b"" };
    [service.as_str().as_bytes(), b"/", &wanted.path, end].concat()
}

/// Two generations: what is asked for moves to the young one, and when that is full the old one goes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    entries: BTreeMap<Vec<u8>, Rc<Entry>>,
    bytes: u64,
}

impl Generation {
    fn remove(&mut self, key: &[u8]) -> Option<Rc<Entry>> {
        let entry = self.entries.remove(key)?;
        self.bytes -= key.len() as u64 + entry.bytes();
        Some(entry)
    }
}

impl Kept {
    /// The entry, if it was made under these settings.
    pub(super) fn get(&mut self, key: &[u8], settings: &Arc<FilesSettings>) -> Option<Rc<Entry>> {
        let entry = match self.young.entries.get(key) {
            Some(entry) => Rc::clone(entry),
            None => {
                let entry = self.old.remove(key)?;
                self.insert(key.to_vec(), Rc::clone(&entry));
                entry
            }
        };
        let same = Arc::ptr_eq(&entry.settings, settings) || entry.settings == *settings;
        same.then_some(entry)
    }

    /// Replaces what was known under the key. Nothing is kept of what is not small.
    pub(super) fn put(&mut self, key: Vec<u8>, entry: Entry) {
        self.young.remove(&key);
        self.old.remove(&key);
        if !entry.contents.is_empty() {
            self.insert(key, Rc::new(entry));
        }
    }

    fn insert(&mut self, key: Vec<u8>, entry: Rc<Entry>) {
        let bytes = key.len() as u64 + entry.bytes();
        if self.young.bytes + bytes > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += bytes;
        self.young.entries.insert(key, entry);
    }
}

const _: () = assert!(
    SMALL_BYTES_MAX * 4 < GENERATION_BYTES_MAX,
    "an entry has room in a generation"
);

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use weir_core::content_coding::Coding;

    fn settings() -> Arc<FilesSettings> {
        Arc::new(FilesSettings {
            root: "/srv".into(),
            index: Vec::new(),
            fallback: None,
            cache_control: None,
            charset: String::new(),
            dot_files: false,
            precompressed: true,
            sendfile: true,
        })
    }

    fn entry(settings: &Arc<FilesSettings>, length: usize) -> Entry {
        let stamp = Stamp {
            device: 1,
            inode: 1,
            bytes: length as u64,
            modified_ns: 0,
        };
        let looked = Looked {
            facts: Facts {
                content_type: HeaderValue::from_static("text/plain"),
                variants: vec![(Coding::Identity, stamp)],
            },
            coding: Coding::Identity,
            stamp,
            content: Content::Memory(vec![0; length].into()),
        };
        Entry::new(Arc::clone(settings), Instant::now(), &looked, Vec::new())
    }

    fn name(number: usize) -> Vec<u8> {
        number.to_string().into_bytes()
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let (mut kept, settings) = (Kept::default(), settings());
        for number in 0..1_000 {
            kept.put(name(number), entry(&settings, 60_000));
            assert!(kept.get(b"0", &settings).is_some(), "after {number}");
            assert!(kept.young.bytes + kept.old.bytes <= 2 * GENERATION_BYTES_MAX);
        }
        assert!(kept.get(b"1", &settings).is_none());
        let held: u64 = [&kept.young, &kept.old]
            .iter()
            .flat_map(|generation| &generation.entries)
            .map(|(key, entry)| key.len() as u64 + entry.bytes())
            .sum();
        assert_eq!(held, kept.young.bytes + kept.old.bytes);
    }

    #[test]
    fn what_other_settings_found_is_not_there() {
        let (mut kept, settings) = (Kept::default(), settings());
        kept.put(name(1), entry(&settings, 10));
        let other = FilesSettings {
            root: "/other".into(),
            ..(*settings).clone()
        };
        assert!(kept.get(b"1", &Arc::new(other)).is_none());
        assert!(kept.get(b"1", &Arc::new((*settings).clone())).is_some());
    }
}
