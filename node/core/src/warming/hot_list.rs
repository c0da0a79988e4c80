//! What was asked for most, as it is written to disk and read again.
//!
//! A head with version, number of entries and CRC-32 of what follows; then a line for each entry. Whatever is read is
//! checked as if anybody had written it.

use thiserror::Error;

use super::asked::{Asked, BadAsked};
use crate::proxy::Scheme;

/// Bytes of the longest list.
pub const LIST_BYTES_MAX: usize = 8 << 20;
/// Entries of the longest list.
pub const LIST_ENTRIES_MAX: usize = 10_000;
const MAGIC: &str = "weir-hot-list 1";

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DamagedList {
    /// Longer than any that is written.
    #[error("{bytes} bytes, at most {LIST_BYTES_MAX} are read")]
    Long {
        /// How long it is.
        bytes: usize,
    },
    /// The head says something else, or nothing that is known.
    #[error("its head is `{head}`, expected `{MAGIC} <entries> <checksum>`")]
    Head {
        /// How it begins.
        head: String,
    },
    /// What follows is not what was written.
    #[error("its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Of what is there.
        found: u32,
        /// As the head says.
        expected: u32,
    },
    /// More or fewer entries than the head says, or than are read.
    #[error("{found} entries, expected {expected}, at most {LIST_ENTRIES_MAX}")]
    Entries {
        /// How many there are.
        found: usize,
        /// As the head says.
        expected: usize,
    },
    /// An entry that cannot be asked for.
    #[error("entry {number}: {why}")]
    Entry {
        /// From 1.
        number: usize,
        /// What is wrong.
        why: BadAsked,
    },
    /// An entry without scheme, authority or target.
    #[error("entry {number} has no scheme, authority and target")]
    Parts {
        /// From 1.
        number: usize,
    },
}

/// The list of these, in this order, as far as there is room. What may hold a credential is left out.
pub fn write_hot_list<'a>(entries: impl IntoIterator<Item = &'a Asked>) -> Vec<u8> {
    let (mut lines, mut count) = (Vec::new(), 0);
    for asked in entries {
        if asked.may_hold_credentials() {
            continue;
        }
        let before = lines.len();
        lines.extend_from_slice(asked.scheme().as_str().as_bytes());
        lines.push(b'\t');
        lines.extend_from_slice(asked.authority().as_bytes());
        lines.push(b'\t');
        lines.extend_from_slice(asked.target().as_str().as_bytes());
        for (name, value) in asked.fields() {
            lines.push(b'\t');
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.push(b':');
            // A tab is the one control character that a value may hold.
            lines.extend(value.as_bytes().iter().map(|byte| match byte {
                b'\t' => b' ',
                byte => *byte,
            }));
        }
        lines.push(b'\n');
        if count == LIST_ENTRIES_MAX || lines.len() + 64 > LIST_BYTES_MAX {
            lines.truncate(before);
            break;
        }
        count += 1;
    }
    let mut list = format!("{MAGIC} {count} {:08x}\n", crc32fast::hash(&lines)).into_bytes();
    list.extend(lines);
    list
}

/// What a list holds.
///
/// # Errors
/// [`DamagedList`]: of a list that is wrong anywhere nothing is used.
pub fn read_hot_list(list: &[u8]) -> Result<Vec<Asked>, DamagedList> {
    if list.len() > LIST_BYTES_MAX {
        return Err(DamagedList::Long { bytes: list.len() });
    }
    let end = list.iter().position(|byte| *byte == b'\n');
    let (head, lines) = list.split_at(end.unwrap_or(list.len()));
    let lines = lines.get(1..).unwrap_or_default();
    let (expected_entries, expected) = read_head(head).ok_or_else(|| DamagedList::Head {
        head: String::from_utf8_lossy(head).chars().take(64).collect(),
    })?;
    let found = crc32fast::hash(lines);
    if found != expected {
        return Err(DamagedList::Checksum { found, expected });
    }
    let entries: Vec<&[u8]> = lines.strip_suffix(b"\n").map_or_else(Vec::new, |lines| {
        lines.split(|byte| *byte == b'\n').collect()
    });
    if entries.len() != expected_entries || entries.len() > LIST_ENTRIES_MAX {
        return Err(DamagedList::Entries {
            found: entries.len(),
            expected: expected_entries,
        });
    }
    let numbered = entries.iter().zip(1..);
    numbered
        .map(|(line, number)| read_entry(line, number))
        .collect()
}

fn read_head(head: &[u8]) -> Option<(usize, u32)> {
    let rest = std::str::from_utf8(head).ok()?.strip_prefix(MAGIC)?;
    let (entries, checksum) = rest.strip_prefix(' ')?.split_once(' ')?;
    Some((
        entries.parse().ok()?,
        u32::from_str_radix(checksum, 16).ok()?,
    ))
}

fn read_entry(line: &[u8], number: usize) -> Result<Asked, DamagedList> {
    let bad = |why| DamagedList::Entry { number, why };
    let mut parts = line.split(|byte| *byte == b'\t');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (Some(scheme), Some(authority), Some(target)) = (text(), text(), text()) else {
        return Err(DamagedList::Parts { number });
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(DamagedList::Parts { number }),
    };
    let asked = Asked::new(scheme, authority, target).map_err(bad)?;
    parts.try_fold(asked, |asked, field| {
        let colon = field.iter().position(|byte| *byte == b':');
        let (name, value) = field.split_at(colon.unwrap_or(field.len()));
        let name = String::from_utf8_lossy(name);
        asked
            .with(&name, value.get(1..).unwrap_or_default())
            .map_err(bad)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list() -> Vec<Asked> {
        let a = Asked::of_url("https://a.example/x?page=1").unwrap();
        let b = Asked::of_url("b.example:8080/").unwrap();
        vec![a, b.with("accept-language", b"de, en;q=0.5").unwrap()]
    }

    #[test]
    fn what_is_written_comes_back() {
        assert_eq!(read_hot_list(&write_hot_list(&list())).unwrap(), list());
        assert_eq!(read_hot_list(&write_hot_list([])).unwrap(), []);
    }

    #[test]
    fn what_may_hold_a_credential_is_never_written() {
        let secret = Asked::of_url("a.example/?token=hunter2").unwrap();
        let written = write_hot_list(list().iter().chain([&secret]));
        assert!(!String::from_utf8_lossy(&written).contains("hunter2"));
        assert_eq!(read_hot_list(&written).unwrap(), list());
    }

    #[test]
    fn one_bit_that_is_another_makes_the_whole_list_worthless() {
        let written = write_hot_list(&list());
        for at in 0..written.len() * 8 {
            let mut damaged = written.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            match read_hot_list(&damaged) {
                Err(_) => {}
                // Letters of the checksum may be of either case.
                Ok(read) => assert_eq!(read, list(), "bit {at}"),
            }
        }
        for length in 0..written.len() {
            assert!(read_hot_list(&written[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_list_that_somebody_forged_is_checked_as_any_other_request() {
        let forge = |lines: &str, count: usize| {
            let checksum = crc32fast::hash(lines.as_bytes());
            read_hot_list(format!("{MAGIC} {count} {checksum:08x}\n{lines}").as_bytes())
        };
        assert!(forge("http\ta.example\t/\n", 1).is_ok());
        for lines in [
            "http\ta.example\t/\tcookie:a=b\n",
            "http\ta.example\t/\tauthorization:Basic x\n",
            "http\tu:p@a.example\t/\n",
            "http\ta.example\tx\n",
            "http\ta.example\n",
            "http\ta.example\t/ HTTP/1.1\n",
            "http\t\t/\n",
        ] {
            assert!(forge(lines, 1).is_err(), "{lines:?}");
        }
        assert!(forge("http\ta.example\t/\n", 2).is_err());
        let many = "http\ta.example\t/\n".repeat(LIST_ENTRIES_MAX + 1);
        assert!(forge(&many, LIST_ENTRIES_MAX + 1).is_err());
    }

    #[test]
    fn a_list_has_bounds() {
        let asked = Asked::of_url("a.example/").unwrap();
        let written = write_hot_list(std::iter::repeat_n(&asked, LIST_ENTRIES_MAX + 9));
        assert_eq!(read_hot_list(&written).unwrap().len(), LIST_ENTRIES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_hot_list(&bytes);
        }
    }
}
