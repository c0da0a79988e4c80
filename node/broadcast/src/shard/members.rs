//! Who has what.

use std::sync::Arc;

use weir_core::broadcast::{Pattern, TopicName};

use super::Shard;
use super::state::State;

impl Shard {
    /// Whose connections of this thread have a topic, as was said when they were made; up to `max` of them, and how
    /// many there are.
    pub fn members(&self, topic: &TopicName, max: usize) -> (Vec<Arc<str>>, usize) {
        let state = self.state.borrow();
        let local = state.by_name.get(topic);
        let Some(local) = local.and_then(|local| state.locals.get(*local)) else {
            return (Vec::new(), 0);
        };
        let outboxes = local.members.iter().take(max);
        let clients = outboxes.filter_map(|(outbox, _)| state.outboxes.get(*outbox));
        let clients = clients.map(|outbox| Arc::clone(&outbox.client)).collect();
        (clients, local.members.len())
    }
}

impl State {
    pub(super) fn subscriptions(&self, key: usize) -> (Vec<TopicName>, Vec<Pattern>) {
        let Some(outbox) = self.outboxes.get(key) else {
            return (Vec::new(), Vec::new());
        };
        let named = outbox
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.named);
        let topics = named.filter_map(|(_, subscription)| self.locals.get(subscription.local));
        let topics = topics.map(|topic| topic.name.clone()).collect();
        (topics, outbox.patterns.clone())
    }
}
