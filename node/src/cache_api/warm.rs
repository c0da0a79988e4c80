//! Orders to fetch what will be asked for.

use tokio::sync::mpsc;
use weir_core::warming::Wanted;
use weir_proto::node::v1 as pb;

use super::{CacheApi, Error};
use crate::actors::cache_warmer::{Done, NotWarmed};

/// URLs of one order.
const URLS_MAX: usize = 10_000;

impl CacheApi {
    /// Has this node fetch what the request names, through its own routes: how many that are, and what becomes of each.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the URL; [`Error::NotWarmed`] when too many orders are under way.
    pub async fn warm(
        &self,
        request: pb::WarmRequest,
    ) -> Result<(usize, mpsc::Receiver<Done>), Error> {
        let pb::WarmRequest { urls, hot } = request;
        if urls.len() > URLS_MAX {
            let why = format!("{}, at most {URLS_MAX} are read", urls.len());
            return Err(Error::invalid("urls", why));
        }
        if urls.is_empty() && !hot {
            return Err(Error::invalid("urls", "none, and nothing else is wanted"));
        }
        let wanted = urls.iter().map(|url| Wanted::parse(url));
        let wanted: Result<Vec<_>, _> = wanted.collect();
        let wanted = wanted.map_err(|why| Error::invalid("urls", why.to_string()))?;
        let is_wanted = !wanted.is_empty();
        let ordered = self.warmer.order(wanted, hot).await;
        let (total, done) = ordered.map_err(|refused| match refused {
            NotWarmed::TooMany(why) => Error::invalid("urls", why.to_string()),
            refused => refused.into(),
        })?;
        if total == 0 && is_wanted {
            let why =
                "a path is fetched on the hosts that routes with a cache name, and none names one";
            return Err(Error::invalid("urls", why));
        }
        Ok((total, done))
    }
}

/// What became of one of `total`.
pub fn warm_result(done: Done, total: usize) -> pb::WarmResult {
    pb::WarmResult {
        url: done.url,
        outcome: done.warmed.outcome.name().to_owned(),
        status: u32::from(done.warmed.status),
        bytes: done.warmed.bytes,
        why: done.warmed.why,
        total: u32::try_from(total).unwrap_or(u32::MAX),
    }
}
