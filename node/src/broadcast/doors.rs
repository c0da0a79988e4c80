//! Where clients come in: who they are, how often they may, and how many at once.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use weir_broadcast::{Encoding, Shard};
use weir_core::broadcast::{Door, Named, Pace, Publisher, Refused};

use super::ask::BadAsk;
use super::opening::Opening;
use super::rights::{Denied, Face, Rights, Who};
use super::session::Session;
use super::{Broadcast, PublishError};
use crate::config::BroadcasterSettings;
use crate::data_plane::stop::Stop;
use crate::peers::WayIn;
use crate::snapshot::Snapshot;

/// How long the control thread may take to let a subscriber in.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// After this time secrets are read again: a file that changed counts.
const SECRETS_AGE_MAX: Duration = Duration::from_secs(5);

/// What all faces share.
#[derive(Debug)]
pub(super) struct Doors {
    connections: AtomicUsize,
    door: Mutex<Door>,
    publishers: Mutex<Pace<Publisher>>,
    rights: Snapshot<Known>,
    /// Whether the node goes.
    stop: OnceLock<Stop>,
    /// Newcomers that were sent elsewhere.
    sent: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Known {
    rights: Arc<Rights>,
    read_at: Instant,
}

impl Known {
    fn read(settings: &BroadcasterSettings) -> Self {
        Self {
            rights: Arc::new(Rights::read(settings)),
            read_at: Instant::now(),
        }
    }
}

impl Doors {
    pub(super) fn new(settings: &BroadcasterSettings) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            door: Mutex::default(),
            publishers: Mutex::default(),
            rights: Snapshot::new(Known::read(settings)),
            stop: OnceLock::new(),
            sent: AtomicUsize::new(0),
        }
    }

    pub(super) fn configure(&self, settings: &BroadcasterSettings) {
        self.rights.publish(Known::read(settings));
    }
}

/// One of the places of a node; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Doors>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that comes, as far as its request tells.
#[derive(Clone, Debug)]
pub struct Coming {
    /// Where it comes in.
    pub face: Face,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it wants, as it stands in the address.
    pub query: String,
    /// A token in `Authorization`.
    pub bearer: Option<String>,
    /// Where its event stream was.
    pub last_event_id: Option<String>,
    /// It reads what is kept and does not wait: a node that goes answers that too.
    pub only_looks: bool,
}

impl Coming {
    /// Reads a request's head.
    pub fn of(face: Face, peer: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let bearer = text(AUTHORIZATION.as_str());
        Self {
            face,
            peer,
            query: uri.query().unwrap_or_default().to_owned(),
            bearer: bearer.and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned)),
            last_event_id: text("last-event-id"),
            only_looks: false,
        }
    }
}

/// Why a client does not get what it asks for.
#[derive(Debug, Error)]
pub enum Turned {
    /// It cannot be asked for.
    #[error("{0}")]
    Bad(BadAsk),
    /// It may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Too much of something.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It begins too often.
    #[error("{0}")]
    TooOften(Refused),
    /// The node has as many as it may, or too much to do.
    #[error("{0}")]
    Full(String),
    /// The node goes, and takes nobody in who would have to leave again.
    #[error("the node goes and takes no new subscribers{}", place_words(.alternative))]
    Leaving {
        /// Where the same way leads to a node that stays; empty if none is known.
        alternative: String,
    },
    /// A message that is not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

fn place_words(alternative: &str) -> String {
    match alternative {
        "" => String::new(),
        there => format!("; {there} does"),
    }
}

impl From<BadAsk> for Turned {
    fn from(bad: BadAsk) -> Self {
        Self::Bad(bad)
    }
}

impl Turned {
    /// How HTTP says it.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refused::Full { .. })
            | Self::Publish(PublishError::Refused(Refused::Full { .. })) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Bad(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Denied(Denied::Unknown(_)) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::Forbidden { .. }) => StatusCode::FORBIDDEN,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Full(_) | Self::Leaving { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Publish(PublishError::Refused(_)) => StatusCode::BAD_REQUEST,
            Self::Publish(PublishError::Mesh(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The same as one word.
    pub const fn word(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::TOO_MANY_REQUESTS => "too_many",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "invalid_argument",
        }
    }

    /// What a client is told as a document.
    pub fn document(&self) -> String {
        let mut told = serde_json::json!({ "error": self.word(), "message": self.to_string() });
        if let Some(there) = self.alternative() {
            told["alternative"] = there.into();
        }
        told.to_string()
    }

    /// Where else it is let in, if somewhere.
    pub fn alternative(&self) -> Option<&str> {
        match self {
            Self::Leaving { alternative } if !alternative.is_empty() => Some(alternative),
            _ => None,
        }
    }

    /// After how long to come again, where that may help.
    pub const fn retry_after_seconds(&self) -> Option<&'static str> {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some("1"),
            _ => None,
        }
    }
}

impl Broadcast {
    /// Who comes, after their secrets were looked at.
    ///
    /// # Errors
    ///
    /// When they may not come in.
    pub(crate) async fn who(&self, coming: &Coming, opening: &Opening) -> Result<Who, Denied> {
        let token = coming.bearer.as_deref().or(opening.token.as_deref());
        let rights = self.newest_rights().await;
        rights.who(coming.face, token, opening.name.as_ref())
    }

    /// Takes note of a message that somebody publishes.
    ///
    /// # Errors
    ///
    /// When they publish more often than they may.
    pub(crate) fn may_publish_now(&self, who: Option<&Who>, from: IpAddr) -> Result<(), Refused> {
        let max = self.settings().publish_per_second_max;
        let token = who.and_then(|who| who.token.clone());
        let publisher = token.map_or_else(|| Publisher::at(from), Publisher::Token);
        let mut publishers = self.doors.publishers.lock();
        publishers.step(publisher, self.now(), max, Named::PUBLISHED)
    }

    /// Everybody's rights, as they were read last.
    pub(super) fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.doors.rights.load().rights)
    }

    async fn newest_rights(&self) -> Arc<Rights> {
        let known = self.doors.rights.load();
        let settings = self.settings();
        if settings.tokens.is_empty() || known.read_at.elapsed() < SECRETS_AGE_MAX {
            return Arc::clone(&known.rights);
        }
        let before = Arc::clone(&settings);
        let read = tokio::task::spawn_blocking(move || Known::read(&settings)).await;
        let Ok(read) = read else {
            return Arc::clone(&known.rights);
        };
        // The same rights stay the same thing: nobody has to be looked at again.
        let read = match read.rights == known.rights {
            true => Known {
                rights: Arc::clone(&known.rights),
                ..read
            },
            false => read,
        };
        let rights = Arc::clone(&read.rights);
        // Those of settings that changed meanwhile are read already.
        if Arc::ptr_eq(&before, &self.settings()) {
            self.doors.rights.publish(read);
        }
        rights
    }

    /// Lets a subscriber in, with all that its address asks for.
    ///
    /// # Errors
    ///
    /// Why it is turned away.
    pub(crate) async fn open(
        &self,
        shard: &Rc<Shard>,
        coming: &Coming,
        opening: &Opening,
        encoding: Encoding,
    ) -> Result<Session, Turned> {
        if encoding == Encoding::Sse && opening.asks_for_nothing() {
            let what = "or `pattern` has to be there: this way no topic can be asked for later";
            return Err(BadAsk::new("topic", what).into());
        }
        if !coming.only_looks {
            self.stays_for(coming.face, encoding)?;
        }
        let place = self.place(coming)?;
        let who = self.who(coming, opening).await?;
        let mut session = Session::new(self, shard, coming, who, encoding, place);
        session.open(opening).await?;
        if encoding == Encoding::Sse {
            session.fits_in_a_line(opening)?;
        }
        Ok(session)
    }

    /// From here on newcomers are sent elsewhere while the node goes.
    pub(crate) fn leaves_with(&self, stop: Stop) {
        // The first one holds; a node has one.
        let _ = self.doors.stop.set(stop);
    }

    /// Whether somebody who comes now may stay. A node that drains lets them in as long as nobody else would; one that
    /// stops does not.
    fn stays_for(&self, face: Face, encoding: Encoding) -> Result<(), Turned> {
        let Some(stop) = self.doors.stop.get().filter(|stop| stop.leaves()) else {
            return Ok(());
        };
        let way = match (face, encoding) {
            (Face::Route, _) => WayIn::Ingress,
            (Face::Api, Encoding::Grpc) => WayIn::Grpc,
            (Face::Api, _) => WayIn::HttpApi,
        };
        let others = self.mesh().elsewhere(way);
        if others.is_empty() && stop.deadline().is_none() {
            return Ok(());
        }
        // One after the other, so that not all of them come to one node.
        let turn = self.doors.sent.fetch_add(1, Ordering::Relaxed);
        let alternative = others.get(turn % others.len().max(1));
        Err(Turned::Leaving {
            alternative: alternative.cloned().unwrap_or_default(),
        })
    }

    fn place(&self, coming: &Coming) -> Result<Place, Turned> {
        let settings = self.settings();
        let mut door = self.doors.door.lock();
        door.knock(
            coming.peer.ip(),
            self.now(),
            settings.handshakes_per_second_max,
        )
        .map_err(Turned::TooOften)?;
        drop(door);
        let before = self.doors.connections.fetch_add(1, Ordering::Relaxed);
        // From here on it is given back, whatever happens.
        let place = Place(Arc::clone(&self.doors));
        let max = settings.connections_max;
        if before >= max {
            let what = format!(
                "subscribers of the node would be {}, more than {max}",
                before + 1
            );
            return Err(Turned::Full(what));
        }
        Ok(place)
    }

    /// Lets a subscriber in on the control thread, and serves it there; once it is in, or why it is not.
    ///
    /// # Errors
    ///
    /// Why it is turned away.
    pub(crate) async fn open_elsewhere<S: Future<Output = ()> + 'static>(
        &self,
        coming: Coming,
        encoding: Encoding,
        serve: impl FnOnce(Session, Opening) -> S + Send + 'static,
    ) -> Result<(), Turned> {
        let (tell, told) = oneshot::channel();
        let broadcast = self.clone();
        let is_asked = self.topics().run_on(self.control_shard(), move |shard| {
            let shard = Rc::clone(shard);
            tokio::task::spawn_local(async move {
                let opened = async {
                    let opening = Opening::of(&coming.query, coming.last_event_id.as_deref())?;
                    let session = broadcast.open(&shard, &coming, &opening, encoding).await?;
                    Ok((session, opening))
                };
                match opened.await {
                    Ok((session, opening)) => {
                        if tell.send(Ok(())).is_ok() {
                            serve(session, opening).await;
                        }
                    }
                    // Whoever asked may have gone.
                    Err(turned) => drop(tell.send(Err(turned))),
                }
            });
        });
        let busy = || Turned::Full("the node has too much to do".to_owned());
        if !is_asked {
            return Err(busy());
        }
        let told = timeout(OPEN_WAIT, told).await;
        told.map_err(|_| busy())?.map_err(|_| busy())?
    }
}
