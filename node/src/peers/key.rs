//! What nodes show each other: whoever may call what is for nodes alone has the mesh's token.
//!
//! A node without one takes whoever reaches its gRPC, which is loopback unless `grpc.insecure` is spelled out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use weir_control_plane::governance::secret::SecretRef;

use crate::token_digest::TokenDigest;

/// After this time the token is read again: a file that changed counts.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Tokens of one file: the first is shown, all are taken, so that nodes change over one after the other.
const TOKENS_MAX: usize = 4;
const HEADER: &str = "authorization";

/// The token of the mesh. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PeerKey(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    place: SecretRef,
    read: Mutex<Option<(Instant, Read)>>,
}

#[derive(Clone, Debug, Default)]
struct Read {
    shown: Option<MetadataValue<Ascii>>,
    taken: Vec<TokenDigest>,
}

/// Shows it to another node.
#[derive(Clone, Debug)]
pub struct Shows(PeerKey);

/// Asks whoever calls for it.
#[derive(Clone, Debug)]
pub struct Asks(PeerKey);

impl PeerKey {
    /// The token at this place; none takes everybody.
    pub fn new(place: Option<&SecretRef>) -> Self {
        Self(place.map(|place| {
            Arc::new(Kept {
                place: place.clone(),
                read: Mutex::default(),
            })
        }))
    }

    /// For calls of other nodes.
    pub fn shows(&self) -> Shows {
        Shows(self.clone())
    }

    /// For services that are for nodes alone.
    pub fn asks(&self) -> Asks {
        Asks(self.clone())
    }
}

impl Kept {
    /// What holds now. A token that cannot be read is nobody's.
    fn now(&self) -> Read {
        let mut read = self.read.lock();
        if let Some((at, read)) = &*read
            && at.elapsed() < AGE_MAX
        {
            return read.clone();
        }
        let now = self.place.read().map_or_else(
            |error| {
                tracing::warn!(%error, "no node can show peers.token");
                Read::default()
            },
            |secret| Read::of(secret.expose()),
        );
        *read = Some((Instant::now(), now.clone()));
        now
    }
}

impl Read {
    fn of(text: &str) -> Self {
        let tokens: Vec<_> = text.split_whitespace().take(TOKENS_MAX).collect();
        let shown = tokens.first().and_then(|token| {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            shown,
            taken: tokens.iter().map(|token| TokenDigest::of(token)).collect(),
        }
    }

    fn takes(&self, shown: &str) -> bool {
        // All are looked at: time tells nothing.
        self.taken.iter().filter(|taken| taken.is_of(shown)).count() > 0
    }
}

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(kept) = &self.0.0
            && let Some(shown) = kept.now().shown
        {
            request.metadata_mut().insert(HEADER, shown);
        }
        Ok(request)
    }
}

impl Interceptor for Asks {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(kept) = &self.0.0 else {
            return Ok(request);
        };
        let shown = request.metadata().get(HEADER);
        let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match shown {
            Some(shown) if kept.now().takes(shown) => Ok(request),
            Some(_) => Err(Status::unauthenticated(
                "the token is not that of peers.token",
            )),
            None => Err(Status::unauthenticated(
                "only for nodes that show peers.token",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_nodes_with_the_token_of_the_mesh_are_taken_also_while_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            SecretRef::File(path)
        };
        let key = |place: &SecretRef| PeerKey::new(Some(place));
        let call = |from: &PeerKey, to: &PeerKey| {
            let request = from.shows().call(Request::new(())).unwrap();
            to.asks().call(request).map_err(|status| status.code())
        };
        let refused = Some(tonic::Code::Unauthenticated);
        let (open, old) = (PeerKey::default(), key(&place("a", "old\n")));
        let (both, new) = (key(&place("b", "new\nold")), key(&place("c", "new")));
        for (from, to, expected) in [
            (&open, &open, None),
            (&old, &open, None),
            (&open, &old, refused),
            (&new, &old, refused),
            (&old, &both, None),
            (&new, &both, None),
            (&both, &new, None),
            (&both, &key(&SecretRef::File("/nowhere".into())), refused),
        ] {
            assert_eq!(call(from, to).err(), expected, "{from:?} {to:?}");
        }
        place("a", "new");
        assert!(call(&new, &old).is_err());
        tokio::time::advance(AGE_MAX).await;
        assert!(call(&new, &old).is_ok());
        assert!(!format!("{:?}", new.0.unwrap().now()).contains("new"));
    }
}
