//! What tells one state of a file from another.

use std::time::Duration;

use http::HeaderValue;

use crate::cache::UnixMs;
use crate::content_coding::Coding;

/// How long a file must have been left alone before its modification time is believed to tell its states apart: the
/// clocks of file systems are coarse, and what is written twice in one tick has one time.
pub const SETTLES_AFTER: Duration = Duration::from_secs(2);
const NS_PER_MS: i128 = 1_000_000;

/// One state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The device that it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Its length.
    pub bytes: u64,
    /// When its content changed last, in nanoseconds since the Unix epoch.
    pub modified_ns: i128,
}

impl Stamp {
    /// Whether it has been left alone for [`SETTLES_AFTER`]; what is modified in the future has not.
    pub fn is_settled(&self, now: UnixMs) -> bool {
        let age_ns = i128::from(now.0) * NS_PER_MS - self.modified_ns;
        u128::try_from(age_ns).is_ok_and(|age_ns| age_ns >= SETTLES_AFTER.as_nanos())
    }

    /// Its entity tag: strong once it has settled (RFC 9110 section 8.8.1). Of its length and modification time alone,
    /// so that hosts to which one file was copied with its times say the same; where it is on disk tells it apart only
    /// within this host. What was compressed beforehand is another representation, and may have length and time of the
    /// original.
    pub fn etag(&self, coding: Coding, now: UnixMs) -> HeaderValue {
        let weak = if self.is_settled(now) { "" } else { "W/" };
        let coded = match coding {
            Coding::Identity => String::new(),
            coding => format!(".{}", coding.name()),
        };
        let text = format!("{weak}\"{:x}-{:x}{coded}\"", self.modified_ns, self.bytes);
        HeaderValue::from_str(&text).expect("hexadecimal digits are a header")
    }

    /// Its `Last-Modified`, in whole seconds, never in the future (RFC 9110 section 8.8.2.1).
    pub fn last_modified(&self, now: UnixMs) -> UnixMs {
        let ms = u64::try_from(self.modified_ns / NS_PER_MS).unwrap_or(0);
        UnixMs(ms.min(now.0) / 1_000 * 1_000)
    }

    /// When its `Last-Modified` may be taken for the whole truth (RFC 9110 section 8.8.2.2).
    pub fn dated_at(&self, now: UnixMs) -> Option<UnixMs> {
        self.is_settled(now).then_some(now)
    }

    /// Whether the file, now in the state `now`, may have other bytes than it had where both have some. What grows is
    /// taken to be written at its end.
    pub fn is_torn(&self, now: &Self) -> bool {
        now.bytes < self.bytes || (now.bytes == self.bytes && now.modified_ns != self.modified_ns)
    }

    /// Whether this, compressed beforehand, may stand for the original: it is not older.
    pub fn is_usable_for(&self, original: &Self) -> bool {
        self.modified_ns >= original.modified_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_500);

    fn modified(ms_ago: i128) -> Stamp {
        Stamp {
            device: 1,
            inode: 2,
            bytes: 3,
            modified_ns: (i128::from(NOW.0) - ms_ago) * NS_PER_MS,
        }
    }

    fn text(stamp: &Stamp) -> String {
        stamp
            .etag(Coding::Identity, NOW)
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_tag_is_strong_once_the_file_was_left_alone() {
        assert!(text(&modified(1_999)).starts_with("W/\""));
        assert!(text(&modified(-1)).starts_with("W/\""));
        let settled = text(&modified(2_000));
        assert!(settled.starts_with('"'), "{settled}");
    }

    #[test]
    fn one_file_on_several_hosts_has_one_tag_and_another_state_another_one() {
        let one = modified(5_000);
        let elsewhere = Stamp {
            device: 9,
            inode: 77,
            ..one
        };
        assert_eq!(text(&one), text(&elsewhere));
        for other in [Stamp { bytes: 4, ..one }, modified(5_001)] {
            assert_ne!(text(&one), text(&other));
        }
        assert_ne!(
            one.etag(Coding::Brotli, NOW),
            one.etag(Coding::Identity, NOW)
        );
    }

    #[test]
    fn nothing_is_modified_in_the_future_or_before_the_epoch() {
        assert_eq!(
            modified(-9_000_000).last_modified(NOW),
            UnixMs(1_790_000_000_000)
        );
        assert_eq!(modified(600).last_modified(NOW), UnixMs(1_789_999_999_000));
        let ancient = Stamp {
            modified_ns: -1,
            ..modified(0)
        };
        assert_eq!(ancient.last_modified(NOW), UnixMs(0));
    }

    #[test]
    fn what_shrinks_or_is_rewritten_is_torn_and_what_grows_is_not() {
        let sent = modified(5_000);
        let at = |bytes, ms_ago| Stamp {
            bytes,
            ..modified(ms_ago)
        };
        assert!(!sent.is_torn(&sent));
        assert!(sent.is_torn(&at(2, 0)));
        assert!(sent.is_torn(&at(3, 0)));
        assert!(!sent.is_torn(&at(4, 0)));
    }

    #[test]
    fn what_was_compressed_before_the_last_change_is_not_used() {
        assert!(!modified(6_000).is_usable_for(&modified(5_000)));
        assert!(modified(5_000).is_usable_for(&modified(5_000)));
        assert!(modified(4_000).is_usable_for(&modified(5_000)));
    }
}
