//! Files of this machine as answers.
//!
//! ```text
//! answer   which file, from memory or disk; errors as the node's own answers   mod.rs
//! disk     finds, opens and reads below a root; blocks                          disk.rs beneath.rs
//! kept     small files that were asked for lately, one store a core             kept.rs
//! head     validators, conditions, ranges, headers                              head.rs
//! body     chunks, one ahead of the client                                      body.rs ahead.rs
//! sendfile chunks that the kernel copies into the connection                    sendfile.rs
//! ```
//!
//! No core ever waits for a disk: what touches one runs on the core's blocking pool, a bounded number at a time and
//! each with a deadline. Small files that are asked for often do not get there: they are kept in memory and looked at
//! again after [`LOOK_INTERVAL`].
//!
//! What goes over HTTP/1 as it is, is sent with `sendfile`; what goes over HTTP/2, to the cache or to be compressed is
//! read. Either way a chunk has been brought into memory before a core touches it.

mod ahead;
mod beneath;
mod body;
mod disk;
mod head;
mod kept;
mod sendfile;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use weir_core::content_coding::AcceptEncoding;
use weir_core::files::{BadPath, Wanted, relative};

use self::ahead::Source;
pub(super) use self::body::FileBody;
use self::body::Limits;
use self::disk::{Ask, Content, Failed, Found};
use self::head::{Looked, Parts};
use self::kept::{Entry, Kept};
pub(super) use self::sendfile::{Next, PART_BYTES_MAX, SendQueue, Sending, is_placeholder};
use super::answer::Reason;
use super::body::ResponseBody;
use super::core::Core;
use super::exchange::Exchange;
use super::request::Routed;
use crate::config::FilesSettings;

/// How long what is known of a file is believed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks at disks and reads from them that one core has under way; more wait.
const DISK_JOBS_MAX: usize = 64;

/// What one core has of files.
pub(super) struct Files {
    kept: RefCell<Kept>,
    /// Held by each job until it ends, however long its request has been gone.
    permits: Arc<Semaphore>,
    /// Where chunks are sent to be brought into memory.
    nowhere: Option<Arc<OwnedFd>>,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            kept: RefCell::default(),
            permits: Arc::new(Semaphore::new(DISK_JOBS_MAX)),
            nowhere: sendfile::nowhere(),
        }
    }
}

/// Answers a request with a file of its service. What goes wrong is an answer, too: a cache shall know it from a
/// backend that is away.
pub(super) async fn answer<B>(
    core: &Rc<Core>,
    routed: &Routed,
    settings: &Arc<FilesSettings>,
    request: &Request<B>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let begun = Instant::now();
    let service = routed.service().settings.timeouts;
    let timeouts = routed.settings().timeouts.unwrap_or(service);
    let limits = Limits {
        read_timeout: timeouts.read,
        deadline: timeouts.total.map(|total| exchange.started + total),
    };
    let (head, method, uri) = (request.headers(), request.method(), request.uri());
    let asking = Asking {
        core,
        routed,
        settings,
        accept: AcceptEncoding::of(head),
        limits,
    };
    let answered = match asking.file(method, uri.path()).await {
        Ok(Some(looked)) => asking.response(method, head, looked),
        Ok(None) => Ok(head::with_slash(uri)),
        Err(failed) => Err(failed.reason),
    };
    asking.note(&mut exchange, begun);
    match answered {
        Ok(Parts {
            response,
            pieces,
            source,
        }) => {
            exchange.answered(response.status());
            let body = FileBody::new(pieces, source, exchange, limits);
            response.map(|()| ResponseBody::file(body))
        }
        Err(reason) => {
            exchange.failed(reason);
            let mut answer = reason.answer(routed.asked.grpc);
            // What a cache may keep is of no one request.
            if routed.settings().cache.is_none() {
                exchange.tell_id(answer.headers_mut());
            }
            answer
        }
    }
}

/// One request for a file.
struct Asking<'a> {
    core: &'a Rc<Core>,
    routed: &'a Routed,
    settings: &'a Arc<FilesSettings>,
    accept: AcceptEncoding,
    limits: Limits,
}

impl Asking<'_> {
    /// The file that answers for a path; none if it is a directory without its slash.
    async fn file(&self, method: &Method, path: &str) -> Result<Option<Looked>, Failed> {
        if *method != Method::GET && *method != Method::HEAD {
            return Err(Reason::MethodNotAllowed.into());
        }
        let wanted = relative(path, self.settings.dot_files).map_err(|bad| match bad {
            BadPath::Ambiguous => Reason::BadPath,
            BadPath::Hidden | BadPath::TooLong => Reason::FileNotFound,
        })?;
        match (self.look(wanted).await, &self.settings.fallback) {
            (Err(failed), Some(fallback)) if failed.is_missing => {
                let wanted = Wanted {
                    path: fallback.clone().into_bytes(),
                    is_directory: false,
                };
                match self.look(wanted).await? {
                    None => Err(Reason::FileNotFound.into()),
                    found => Ok(found),
                }
            }
            (found, _) => found,
        }
    }

    /// What is there: as it is kept, if that was looked at lately, else as it is on disk.
    async fn look(&self, wanted: Wanted) -> Result<Option<Looked>, Failed> {
        let files = &self.core.files;
        let key = kept::key(&self.routed.service().settings.name, &wanted);
        let kept = files.kept.borrow_mut().get(&key, self.settings);
        let now = Instant::now();
        if let Some(entry) = &kept
            && now.duration_since(entry.looked_at) < LOOK_INTERVAL
            && let Some(looked) = entry.look(&self.accept)
        {
            return Ok(Some(looked));
        }
        let known = kept.map(|entry| entry.contents.clone()).unwrap_or_default();
        let ask = Ask {
            settings: Arc::clone(self.settings),
            wanted,
            accept: self.accept,
            known: known.clone(),
        };
        let due = self.limits.due(now);
        let found = off_core(Arc::clone(&files.permits), due, move || disk::find(&ask)).await?;
        let Found::File(looked) = found else {
            return Ok(None);
        };
        if looked.facts.are_settled(self.core.unix_ms()) {
            let entry = Entry::new(Arc::clone(self.settings), now, &looked, known);
            files.kept.borrow_mut().put(key, entry);
        }
        Ok(Some(*looked))
    }

    fn response(
        &self,
        method: &Method,
        request: &HeaderMap,
        looked: Looked,
    ) -> Result<Parts, Reason> {
        let draw = || {
            let half = || self.core.with_rng(|rng| rng.u64(..));
            format!("{:016x}{:016x}", half(), half())
        };
        let asked = head::Asked {
            method,
            request,
            now: self.core.unix_ms(),
            cache_control: self.settings.cache_control.as_ref(),
        };
        let source = match &looked.content {
            Content::Memory(_) => None,
            Content::Disk(file) => Some(Source {
                file: Arc::clone(file),
                stamp: looked.stamp,
                permits: Arc::clone(&self.core.files.permits),
                nowhere: self
                    .core
                    .files
                    .nowhere
                    .clone()
                    .filter(|_| self.settings.sendfile),
            }),
        };
        let (response, pieces) = asked.response(&looked, draw)?;
        Ok(Parts {
            response,
            pieces,
            source,
        })
    }

    fn note(&self, exchange: &mut Exchange, begun: Instant) {
        if let Some(trace) = &exchange.trace {
            trace.step("file", begun);
        }
    }
}

/// Runs what may wait for a disk, until it is due.
async fn off_core<T, E>(
    permits: Arc<Semaphore>,
    (at, late): (Instant, Reason),
    job: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Reason> + Send + 'static,
{
    let run = async {
        let permit = permits.acquire_owned().await;
        let job = move || {
            let done = job();
            drop(permit);
            done
        };
        let done = tokio::task::spawn_blocking(job).await;
        done.unwrap_or_else(|_| Err(Reason::FileError.into()))
    };
    timeout_at(at, run)
        .await
        .unwrap_or_else(|_| Err(late.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_holds_its_place_and_nobody_who_asked() {
        let permits = Arc::new(Semaphore::new(1));
        let (answers, disk) = std::sync::mpsc::channel::<()>();
        let soon = || {
            (
                Instant::now() + Duration::from_millis(20),
                Reason::ReadTimeout,
            )
        };
        let hangs = move || -> Result<(), Reason> {
            let _ = disk.recv();
            Ok(())
        };
        let late = off_core(Arc::clone(&permits), soon(), hangs).await;
        assert_eq!(late, Err(Reason::ReadTimeout));
        let waits = off_core(Arc::clone(&permits), soon(), || Ok::<_, Reason>(())).await;
        assert_eq!(waits, Err(Reason::ReadTimeout));
        drop(answers);
        let due = (
            Instant::now() + Duration::from_secs(20),
            Reason::ReadTimeout,
        );
        let served = off_core(permits, due, || Ok::<_, Reason>(7)).await;
        assert_eq!(served, Ok(7));
    }
}
