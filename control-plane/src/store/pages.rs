//! All below a prefix, a page at a time.

use bytes::Bytes;

use super::limits::PAGE_ENTRIES_MAX;
use super::{Error, List, Page, Store};

/// The pages of all entries below a prefix, at the one revision of the first.
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    list: List,
    is_done: bool,
}

impl<'a> Pages<'a> {
    /// Of a store.
    pub(crate) fn below(store: &'a dyn Store, prefix: Bytes) -> Self {
        Self {
            store,
            list: List {
                prefix,
                entries_max: PAGE_ENTRIES_MAX,
                ..List::default()
            },
            is_done: false,
        }
    }

    /// Only what comes after this key.
    pub(crate) fn after(mut self, key: Bytes) -> Self {
        self.list.after = Some(key);
        self
    }

    /// The next page, and one be it empty; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.store.list(self.list.clone()).await?;
        self.list.at.get_or_insert(page.revision);
        self.list.after = page.entries.last().map(|entry| entry.key.clone());
        self.is_done = !page.more || self.list.after.is_none();
        Ok(Some(page))
    }
}
