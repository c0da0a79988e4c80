//! A value that one owner replaces whole and everyone reads without waiting.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

/// The owner's end: publishes and hands out readers.
#[derive(Debug)]
pub struct Snapshot<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Snapshot<T> {
    /// A snapshot that holds `value` until something else is published.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// Replaces the value. Readers that hold the old one keep it.
    pub fn publish(&self, value: T) {
        self.0.store(Arc::new(value));
    }

    /// The value now.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// A reader of one's own: about a nanosecond a look while nothing changed.
    pub fn reader(&self) -> Reader<T> {
        Reader(Cache::new(Arc::clone(&self.0)))
    }
}

/// The reading end, one for each core or connection.
#[derive(Debug)]
pub struct Reader<T>(Cache<Arc<ArcSwap<T>>, Arc<T>>);

impl<T> Reader<T> {
    /// The newest value.
    pub fn load(&mut self) -> &Arc<T> {
        self.0.load()
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
