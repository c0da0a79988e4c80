//! What a node holds of messages, each byte once, however many wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// What shared bytes take beside themselves.
const OWNER_BYTES: usize = size_of::<Charged>() + 64;

/// Bytes that are held, and how often something was encoded. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    bytes: AtomicU64,
    /// Of these, what waits for replicas and cannot be dropped.
    held_bytes: AtomicU64,
    messages_encoded: AtomicU64,
    batches_encoded: AtomicU64,
}

impl Account {
    /// Bytes of all messages, their encoded forms and batches that anybody holds.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of messages that wait for their topics' replicas. They are among [`Self::bytes`] and cannot be dropped.
    pub fn held_bytes(&self) -> u64 {
        self.0.held_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn hold(&self, bytes: usize) {
        self.0.held_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.0.held_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// How often a message was encoded: once for each form, whoever wants it.
    pub fn messages_encoded(&self) -> u64 {
        self.0.messages_encoded.load(Ordering::Relaxed)
    }

    /// How often a batch was encoded: once for each form and thread that wants it.
    pub fn batches_encoded(&self) -> u64 {
        self.0.batches_encoded.load(Ordering::Relaxed)
    }

    pub(crate) fn charge(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn discharge(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn message_encoded(&self) {
        self.0.messages_encoded.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a batch that are charged for as long as anybody holds them or a part of them.
    pub(crate) fn batch(&self, bytes: Vec<u8>) -> Bytes {
        self.0.batches_encoded.fetch_add(1, Ordering::Relaxed);
        self.charge(bytes.capacity() + OWNER_BYTES);
        Bytes::from_owner(Charged {
            bytes,
            account: self.clone(),
        })
    }
}

struct Charged {
    bytes: Vec<u8>,
    account: Account,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.account.discharge(self.bytes.capacity() + OWNER_BYTES);
    }
}
