//! A response as it is kept in memory.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use weir_core::cache::{Key, KeyTooLong, Stored, TierTtls, UnixMs, goes_beside};
use weir_core::content_coding::Coding;
use weir_core::proxy::Authority;
use weir_core::purge::{Fetched, Hlc, Stamps, Verdict, host_id, key_id, namespace_id};

use crate::blocks::{PART_BYTES, block_bytes, given_bytes};
use crate::budget::{Budget, Charge};
use crate::in_kernel::{InKernel, KernelCopy};

/// Bytes that an entry costs beside key, fields and body.
const OVERHEAD_BYTES: u64 = 512;
/// Bytes that a field costs beside name and value.
const FIELD_OVERHEAD_BYTES: u64 = 104;
/// Bytes that the names of fields cost that a response depends on, about.
const VARIANT_OVERHEAD_BYTES: u64 = 512;

/// What a key stands for, as purges name it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The whole key.
    pub key: Key,
    namespace_id: u64,
    key_id: u64,
    host_id: u64,
    path: Box<str>,
}

impl Resource {
    /// The resource of a key, of its parts.
    pub fn new(key: Key, namespace: &str, authority: &str, path_and_query: &str) -> Self {
        Self {
            namespace_id: namespace_id(namespace),
            key_id: key_id(namespace, key.as_str()),
            host_id: Self::host_id(namespace, authority),
            path: path_and_query.into(),
            key,
        }
    }

    /// The resource of a value that an application puts under a name.
    ///
    /// # Errors
    /// [`KeyTooLong`].
    pub fn of_value(namespace: &str, name: &str) -> Result<Self, KeyTooLong> {
        let key = Key::of_value(namespace, name)?;
        Ok(Self {
            namespace_id: namespace_id(namespace),
            key_id: key_id(namespace, key.as_str()),
            host_id: Self::host_of_values(namespace),
            path: name.into(),
            key,
        })
    }

    /// The host by which a purge names values of a namespace; no authority is like that.
    pub fn host_of_values(namespace: &str) -> u64 {
        host_id(namespace, "values of applications")
    }

    /// Path and query, or the name of a value.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host by which a purge names everything of an authority, whatever its port, case and root dot.
    pub fn host_id(namespace: &str, authority: &str) -> u64 {
        match Authority::parse(authority) {
            Ok(parsed) => host_id(namespace, &parsed.routing_host()),
            Err(_) => host_id(namespace, authority),
        }
    }

    /// What purges say of an answer with these tags to a fetch that began at that time.
    pub fn verdict(&self, stamps: &Stamps, tags: &[u64], at: Hlc) -> Verdict {
        stamps.verdict(&Fetched {
            namespace: self.namespace_id,
            key: self.key_id,
            host: self.host_id,
            path: &self.path,
            tags,
            at,
        })
    }

    /// The key as purges name it.
    pub fn key_id(&self) -> u64 {
        self.key_id
    }
}

/// The body of an entry in a content coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedForm {
    /// Which one.
    pub coding: Coding,
    /// `None`: it is not smaller, so nobody need try again.
    pub body: Option<Bytes>,
}

/// A response as it is kept. What it costs is known when it is made and does not change.
#[derive(Debug)]
pub struct Entry {
    /// Which resource it is of.
    pub resource: Resource,
    /// Everything but the body.
    pub stored: Stored,
    /// When its fetch began, as purges compare it.
    pub fetched_at: Hlc,
    /// [`weir_core::purge::tag_id`] of each of its tags.
    pub tags: Box<[u64]>,
    /// The body, in pieces that together hold no more memory than they are long.
    pub body: Box<[Bytes]>,
    /// Bytes of the body.
    pub body_bytes: u64,
    cost_bytes: u64,
    coded: Box<[CodedForm]>,
    /// A bit for each coding that somebody makes or has made.
    begun: AtomicU8,
    /// [`Stamps::version`] under which it was found valid.
    valid_at: AtomicU64,
    /// When memory took it; 0 before.
    taken_at: AtomicU64,
    /// What it costs once only readers hold it.
    held: OnceLock<Charge>,
    in_kernel: InKernel,
}

impl Entry {
    /// An entry; `body` in pieces that together hold no more memory than they are long.
    pub fn new(
        resource: Resource,
        stored: Stored,
        at: Hlc,
        tags: Box<[u64]>,
        body: Box<[Bytes]>,
    ) -> Self {
        let body_bytes = body.iter().map(|piece| piece.len() as u64).sum();
        let fields = stored.headers.iter().map(|(name, value)| {
            name.as_str().len() as u64 + value.len() as u64 + FIELD_OVERHEAD_BYTES
        });
        let parts = body.len() as u64 * PART_BYTES;
        let keys = 2 * (resource.key.as_str().len() + resource.path.len() + 8 * tags.len()) as u64;
        let variant = stored.variant.as_ref();
        let variant = variant.map_or(0, |variant| {
            VARIANT_OVERHEAD_BYTES + variant.key().len() as u64
        });
        let body_cost = block_bytes(body_bytes) + parts;
        let cost_bytes = body_cost + fields.sum::<u64>() + keys + variant + OVERHEAD_BYTES;
        Self {
            resource,
            stored,
            fetched_at: at,
            tags,
            body,
            body_bytes,
            cost_bytes,
            coded: Box::default(),
            begun: AtomicU8::new(0),
            valid_at: AtomicU64::new(u64::MAX),
            taken_at: AtomicU64::new(0),
            held: OnceLock::new(),
            in_kernel: InKernel::default(),
        }
    }

    /// The same body with what a validation told.
    #[must_use]
    pub fn renewed(&self, stored: Stored, at: Hlc, tags: Box<[u64]>) -> Self {
        let mut renewed = Self::new(self.resource.clone(), stored, at, tags, self.body.clone());
        // What is being made of the body will be of this one too.
        *renewed.begun.get_mut() = self.begun.load(Ordering::Relaxed);
        renewed.in_kernel = self.in_kernel.shared();
        let coded = self.coded.iter().cloned();
        coded.fold(renewed, Self::with_coded)
    }

    fn with_coded(mut self, form: CodedForm) -> Self {
        let body_bytes = form.body.as_ref().map_or(0, |body| given_bytes(body.len()));
        self.cost_bytes += body_bytes + size_of::<CodedForm>() as u64;
        self.coded = self.coded.iter().cloned().chain([form]).collect();
        self
    }

    /// The same with one more form of its body.
    pub(crate) fn and_coded(&self, form: CodedForm) -> Self {
        let mut same = self.renewed(self.stored.clone(), self.fetched_at, self.tags.clone());
        *same.taken_at.get_mut() = self.taken_at.load(Ordering::Relaxed);
        same.with_coded(form)
    }

    /// Its body in a coding, once that was made.
    pub fn coded(&self, coding: Coding) -> Option<&CodedForm> {
        self.coded.iter().find(|form| form.coding == coding)
    }

    /// Whether whoever asks is the one to make a form; true once.
    pub(crate) fn begin_coding(&self, coding: Coding) -> bool {
        let bit = 1 << coding as u8;
        let is_begun = |begun: u8| begun & bit != 0;
        // Most who ask come too late, and a look takes no cache line from anybody.
        !is_begun(self.begun.load(Ordering::Relaxed))
            && !is_begun(self.begun.fetch_or(bit, Ordering::Relaxed))
    }

    /// The form was not made; whoever asks next may try.
    pub(crate) fn forget_coding(&self, coding: Coding) {
        self.begun
            .fetch_and(!(1 << coding as u8), Ordering::Relaxed);
    }

    /// Whether both hold the very same body, as an entry and its renewal do.
    pub(crate) fn shares_body(&self, other: &Self) -> bool {
        let place = |piece: &Bytes| (piece.as_ptr(), piece.len());
        self.body.iter().map(place).eq(other.body.iter().map(place))
    }

    /// The copy of its body that the kernel holds, if it is asked for often; this is one more time. What that costs is
    /// charged to `budget`.
    pub(crate) fn kernel_copy(&self, budget: &Budget) -> Option<&Arc<KernelCopy>> {
        self.in_kernel.copy(&self.body, self.body_bytes, budget)
    }

    /// Memory takes it now.
    pub(crate) fn taken(&self, now: UnixMs) {
        self.taken_at.store(now.0, Ordering::Relaxed);
    }

    /// When memory took it.
    pub(crate) fn taken_at(&self) -> UnixMs {
        UnixMs(self.taken_at.load(Ordering::Relaxed))
    }

    /// Until when it answers from memory without a question to the tier beneath.
    pub fn memory_until(&self, ttls: &TierTtls) -> UnixMs {
        let fetched = UnixMs(self.fetched_at.unix_ms());
        let taken = UnixMs(self.taken_at.load(Ordering::Relaxed));
        ttls.memory_until(taken.max(fetched), fetched)
    }

    /// Whether it may not answer beside a newer entry of its key: that one is for the same requests, or depends on a
    /// field that this one does not heed.
    pub(crate) fn is_past_beside(&self, newer: &Self) -> bool {
        let (own, newer) = (&self.stored.variant, &newer.stored.variant);
        own == newer || !goes_beside(own.as_ref(), newer.as_ref())
    }

    /// It is kept no more, and readers still hold it: it is charged until the last one lets it go.
    pub(crate) fn is_held_by_readers(&self, budget: &Budget) {
        self.held.get_or_init(|| {
            let mut charge = budget.charge();
            charge.take_anyway(self.cost_bytes);
            charge
        });
    }

    /// Whether it is kept no more.
    pub(crate) fn is_held(&self) -> bool {
        self.held.get().is_some()
    }

    /// Bytes of the longest form of its body.
    pub(crate) fn longest_bytes(&self) -> u64 {
        let coded = self.coded.iter().filter_map(|form| form.body.as_ref());
        let longest = coded.map(|body| body.len() as u64).max();
        self.body_bytes.max(longest.unwrap_or_default())
    }

    /// Bytes of memory that it takes, everything included.
    pub fn cost_bytes(&self) -> u64 {
        self.cost_bytes
    }

    /// What purges say of it. One comparison while nothing was purged since it was asked last.
    pub fn verdict(&self, stamps: &Stamps) -> Verdict {
        let version = stamps.version();
        if self.valid_at.load(Ordering::Relaxed) == version {
            return Verdict::Valid;
        }
        let verdict = self.resource.verdict(stamps, &self.tags, self.fetched_at);
        if verdict == Verdict::Valid {
            self.valid_at.store(version, Ordering::Relaxed);
        }
        verdict
    }
}
