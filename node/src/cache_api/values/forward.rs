//! Which node a value is at, and how that is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use weir_cache::Resource;
use weir_proto::node::v1::cache_client::CacheClient;

use super::super::{CacheApi, Error};

/// Says that a node of the mesh asks, and that whoever is asked answers by itself.
pub const HOP: &str = "x-weir-cache-hop";
/// Says that whoever was asked knows another owner of the key.
pub const NOT_OWNER: &str = "x-weir-cache-not-owner";
/// For one call of another node, beside what it may wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a node that did not answer is let alone.
const LET_ALONE: Duration = Duration::from_secs(10);

/// The way to another node.
pub(super) type Client = CacheClient<Channel>;

/// Whether another node asks.
pub fn is_hop(metadata: &MetadataMap) -> bool {
    metadata.contains_key(HOP)
}

/// Says that a node asks.
pub(super) fn hop<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let yes = MetadataValue::from_static("1");
    request.metadata_mut().insert(HOP, yes);
    request
}

impl CacheApi {
    /// The other node that owns a key; `None` if this one does, or is asked by another one.
    pub(super) fn owner_of(&self, resource: &Resource, is_hop: bool) -> Option<String> {
        let owner = self.other_owner(resource)?;
        (!is_hop).then_some(owner)
    }

    /// Nothing is put where another node owns the key, whoever asks: versions would be compared at two places.
    ///
    /// # Errors
    /// [`Error::NotOwner`].
    pub(super) fn check_owned(&self, resource: &Resource) -> Result<(), Error> {
        let node = self.node.to_string();
        match self.other_owner(resource) {
            Some(owner) => Err(Error::NotOwner { node, owner }),
            None => Ok(()),
        }
    }

    fn other_owner(&self, resource: &Resource) -> Option<String> {
        let peers = self.tier.peers();
        self.store().values.see(&peers.others(), self.now());
        let owner = peers.owner_of_value(resource.key.as_str());
        (*owner != *self.node).then_some(owner)
    }

    /// Asks another node, which may take `wait` longer than one call does.
    ///
    /// # Errors
    /// [`Error::Away`]; what it says itself.
    pub(super) async fn ask<Q, A, F, Fut>(
        &self,
        node: &str,
        wait: Option<Duration>,
        question: Q,
        call: F,
    ) -> Result<A, Error>
    where
        F: FnOnce(Client, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let away = |why: String| Error::Away {
            node: node.to_owned(),
            why,
        };
        if self.is_let_alone(node) {
            return Err(away("it did not answer a moment ago".to_owned()));
        }
        let client = self.client_of(node).map_err(away)?;
        let within = CALL_TIMEOUT + wait.unwrap_or_default();
        let why = match timeout(within, call(client, hop(question))).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            // It answers, so it is not let alone: soon both will know the same nodes.
            Ok(Err(status)) if status.metadata().contains_key(NOT_OWNER) => {
                return Err(away(status.message().to_owned()));
            }
            Ok(Err(status)) if is_of_the_way(&status) => status.message().to_owned(),
            Ok(Err(status)) => {
                return Err(Error::Told {
                    code: status.code() as i32,
                    message: status.message().to_owned(),
                });
            }
            Err(_) => format!("no answer within {} ms", within.as_millis()),
        };
        self.let_alone(node);
        Err(away(why))
    }

    /// The way to a node.
    pub(super) fn client_of(&self, node: &str) -> Result<Client, String> {
        let channel = self.tier.peers().channel_to(node)?;
        Ok(CacheClient::new(channel))
    }

    fn is_let_alone(&self, node: &str) -> bool {
        let away = self.away.load();
        away.get(node).is_some_and(|until| Instant::now() < *until)
    }

    fn let_alone(&self, node: &str) {
        self.tier.peers().is_silent(node);
        let now = Instant::now();
        let mut away: BTreeMap<String, Instant> = BTreeMap::clone(&self.away.load());
        away.retain(|_, until| now < *until);
        away.insert(node.to_owned(), now + LET_ALONE);
        self.away.publish(away);
    }
}

/// Whether a call did not get through, as far as can be told.
fn is_of_the_way(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}
