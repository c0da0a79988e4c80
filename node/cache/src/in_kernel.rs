//! Bodies that are asked for often, once more in memory of the kernel, which gives them to sockets without a copy.
//!
//! Each is a file without a name that nobody writes to again. There are [`BODIES_MAX`] at a time, in a part of the
//! memory for bodies under way, so they never take the place of what is kept.

use std::fs::File;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::budget::{Budget, KernelShare};

/// Bodies of which there may be copies; each is an open file.
pub(crate) const BODIES_MAX: u32 = 256;
/// Shorter ones are copied sooner than they are sent; to write a longer one takes too long of a core.
const BODY_BYTES: RangeInclusive<u64> = 16 << 10..=1 << 20;
/// Hits that make a body worth it.
const HITS_LEAST: u8 = 32;

/// The copy of one body, once there is one.
#[derive(Debug, Default)]
pub(crate) struct InKernel {
    hits: AtomicU8,
    copy: OnceLock<Arc<KernelCopy>>,
}

/// A body in a file without a name; it is charged until the last one lets it go.
#[derive(Debug)]
pub struct KernelCopy {
    file: Arc<OwnedFd>,
    _share: KernelShare,
}

impl InKernel {
    /// The copy, if the body is asked for often enough; this is one more time.
    pub(crate) fn copy(
        &self,
        body: &[Bytes],
        body_bytes: u64,
        budget: &Budget,
    ) -> Option<&Arc<KernelCopy>> {
        if !BODY_BYTES.contains(&body_bytes) {
            return None;
        }
        if self.copy.get().is_none() {
            // Nobody has to be counted exactly.
            let hits = self.hits.load(Ordering::Relaxed);
            if hits < HITS_LEAST {
                self.hits.store(hits + 1, Ordering::Relaxed);
                return None;
            }
            self.hits.store(0, Ordering::Relaxed);
            // Another core may have made one meanwhile, which is as good.
            let copy = KernelCopy::of(body, body_bytes, budget)?;
            let _ = self.copy.set(Arc::new(copy));
        }
        self.copy.get()
    }

    /// That of the same body in another entry.
    pub(crate) fn shared(&self) -> Self {
        Self {
            hits: AtomicU8::new(0),
            copy: self.copy.clone(),
        }
    }
}

impl KernelCopy {
    /// From its start to its end, and never written to again.
    pub const fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// `None` if there is no room for it.
    fn of(body: &[Bytes], body_bytes: u64, budget: &Budget) -> Option<Self> {
        let share = budget.kernel_share(body_bytes)?;
        let file = memfd_create("weir-cache", MemfdFlags::CLOEXEC).ok()?;
        let mut file = File::from(file);
        for piece in body {
            file.write_all(piece).ok()?;
        }
        Some(Self {
            file: Arc::new(file.into()),
            _share: share,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    const BYTES: u64 = 32 << 10;

    fn body() -> Vec<Bytes> {
        vec![
            Bytes::from(vec![1; 10 << 10]),
            Bytes::from(vec![2; 22 << 10]),
        ]
    }

    fn asked_often(body: &[Bytes], budget: &Budget) -> InKernel {
        let copies = InKernel::default();
        for _ in 0..HITS_LEAST {
            assert!(copies.copy(body, BYTES, budget).is_none());
        }
        copies
    }

    #[test]
    fn a_body_that_is_asked_for_often_is_a_file_with_its_bytes() {
        let budget = Budget::new(1 << 20);
        let copies = asked_often(&body(), &budget);
        let copy = copies.copy(&body(), BYTES, &budget).unwrap();
        let file = File::from(copy.file().try_clone().unwrap());
        let mut bytes = vec![0; 40 << 10];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap() as u64, BYTES);
        assert_eq!(bytes[..BYTES as usize], body().concat());
        assert_eq!(
            (&file).read(&mut bytes).unwrap(),
            0,
            "its end is where it was written"
        );
    }

    #[test]
    fn copies_are_charged_within_a_share_of_the_budget_and_given_back() {
        let budget = Budget::new(4 * BYTES);
        let first = asked_often(&body(), &budget);
        assert!(first.copy(&body(), BYTES, &budget).is_some());
        assert_eq!(budget.used_bytes(), BYTES);
        let second = asked_often(&body(), &budget);
        assert!(
            second.copy(&body(), BYTES, &budget).is_none(),
            "the share is used"
        );
        assert_eq!(budget.used_bytes(), BYTES);
        let renewed = first.shared();
        drop(first);
        assert!(renewed.copy(&body(), BYTES, &budget).is_some());
        drop(renewed);
        assert_eq!(budget.used_bytes(), 0);
        let second = asked_often(&body(), &budget);
        assert!(second.copy(&body(), BYTES, &budget).is_some());
    }

    #[test]
    fn there_are_no_more_copies_than_files_may_be_open_for_them() {
        let budget = Budget::new(u64::MAX);
        let body = [Bytes::from(vec![0; 16 << 10])];
        let copies: Vec<_> = (0..=BODIES_MAX)
            .map(|_| KernelCopy::of(&body, 16 << 10, &budget))
            .collect();
        assert_eq!(copies.iter().flatten().count(), BODIES_MAX as usize);
    }

    #[test]
    fn short_and_very_long_bodies_are_not_copied() {
        let budget = Budget::new(u64::MAX);
        for bytes in [1 << 10, 2 << 20] {
            let body = [Bytes::from(vec![0; bytes])];
            let copies = InKernel::default();
            for _ in 0..=HITS_LEAST {
                assert!(copies.copy(&body, bytes as u64, &budget).is_none());
            }
        }
    }
}
