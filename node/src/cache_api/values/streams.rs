//! Streams of several nodes as one, of each node one at a time.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll};

/// What comes of a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<T> {
    /// Something.
    Came(T),
    /// Nothing more: another stream may be opened.
    Ended,
}

/// Streams, by node.
pub(super) struct Streams<T> {
    all: SelectAll<BoxStream<'static, (String, Item<T>)>>,
    open: BTreeMap<String, AbortHandle>,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self {
            all: SelectAll::new(),
            open: BTreeMap::new(),
        }
    }
}

impl<T: Send + 'static> Streams<T> {
    /// Opens the stream of a node, unless it has one.
    pub(super) fn open(&mut self, node: &str, stream: impl FnOnce() -> BoxStream<'static, T>) {
        if self.open.contains_key(node) {
            return;
        }
        let (named, ended) = (node.to_owned(), node.to_owned());
        let items = stream()
            .map(move |item| (named.clone(), Item::Came(item)))
            .chain(stream::once(async move { (ended, Item::Ended) }));
        // Also the end: of a stream that was dropped it would be taken for that of the next one.
        let (items, handle) = stream::abortable(items);
        self.open.insert(node.to_owned(), handle);
        self.all.push(items.boxed());
    }

    /// The next of all; `None` if none is open.
    pub(super) async fn next(&mut self) -> Option<(String, Item<T>)> {
        let next = self.all.next().await?;
        if matches!(next.1, Item::Ended) {
            self.open.remove(&next.0);
        }
        Some(next)
    }

    /// Drops the streams of nodes that are not there any more, which would never end by themselves; names them.
    pub(super) fn drop_unless(&mut self, is_there: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        self.open.retain(|node, handle| {
            let stays = is_there(node);
            if !stays {
                handle.abort();
                left.insert(node.clone());
            }
            stays
        });
        left
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn came(node: &str, item: u8) -> Option<(String, Item<u8>)> {
        Some((node.to_owned(), Item::Came(item)))
    }

    fn endless(item: u8) -> BoxStream<'static, u8> {
        stream::iter([item]).chain(stream::pending()).boxed()
    }

    #[tokio::test]
    async fn a_node_that_comes_again_has_a_new_stream_though_its_old_one_never_ended() {
        let mut streams = Streams::default();
        streams.open("a", || endless(1));
        streams.open("a", || panic!("it has one"));
        assert_eq!(streams.next().await, came("a", 1));
        assert_eq!(streams.drop_unless(|_| true), BTreeSet::new());
        let left = streams.drop_unless(|node| node != "a");
        assert_eq!(left, BTreeSet::from(["a".to_owned()]));
        streams.open("a", || endless(2));
        assert_eq!(streams.next().await, came("a", 2));
        assert_eq!(streams.next().now_or_never(), None);
        assert_eq!(streams.all.len(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_ended_may_be_opened_anew() {
        let mut streams = Streams::default();
        streams.open("a", || stream::iter([1]).boxed());
        assert_eq!(streams.next().await, came("a", 1));
        assert_eq!(streams.next().await, Some(("a".to_owned(), Item::Ended)));
        streams.open("a", || endless(2));
        assert_eq!(streams.next().await, came("a", 2));
    }
}
