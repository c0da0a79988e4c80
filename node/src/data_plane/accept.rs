//! One core's listeners: accepts, bounds and counts client connections.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::connection;
use super::core::Core;

/// Connections that the kernel holds before they are accepted; it applies its own bound too.
const BACKLOG: i32 = 65_535;
/// How long a handshake of a client near by may take once it has begun.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(20);
/// The wait after the process ran out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// File descriptors kept from clients, for the node's own listeners, gRPC, HTTP API and logs.
const DESCRIPTORS_RESERVED: u64 = 64;

/// How often a full node looks whether its limit was raised.
const LIMIT_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The client connections of all cores, counted against a limit that may change.
#[derive(Debug)]
pub(super) struct Places {
    /// What the process's file descriptors allow, whatever is configured.
    ceiling: usize,
    taken: AtomicUsize,
    freed: Notify,
}

/// One client connection's place, given back when dropped.
#[derive(Debug)]
struct Place(Arc<Places>);

/// Client connections for which the process has file descriptors.
pub fn connections_ceiling() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let ceiling = limit.saturating_sub(DESCRIPTORS_RESERVED) / 2;
    usize::try_from(ceiling).unwrap_or(usize::MAX).max(1)
}

impl Places {
    /// As many as there are file descriptors for: each client may need one for a backend too, and
    /// some stay free for everything else.
    pub(super) fn within_descriptors() -> Self {
        Self {
            ceiling: connections_ceiling(),
            taken: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    fn take(self: &Arc<Self>, at_most: usize) -> Option<Place> {
        let one_more = |taken: usize| (taken < at_most.min(self.ceiling)).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

/// A listener that shares its address with those of the other cores.
///
/// # Errors
/// What the kernel says: most often that the address is taken.
pub(super) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Fails when somebody else listens on `address`, which `SO_REUSEPORT` alone would hide.
///
/// # Errors
/// What the kernel says.
pub fn claim(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// Accepts on one listener until the node stops, then takes what the kernel still holds and closes it.
pub(super) async fn run(core: Rc<Core>, listener: TcpListener, places: Arc<Places>) {
    let mut stopping = core.parts.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // The place is taken last: a listener that waits for clients keeps none from the others.
            Ok((stream, peer)) => {
                let place = tokio::select! {
                    biased;
                    place = free_place(&core, &places) => place,
                    _ = stopping.requested() => break,
                };
                serve(&core, stream, peer, place);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    refuse_handshakes(&listener);
    // Those that have begun end in this time, and their clients may have sent a request with the last step.
    tokio::time::sleep(HANDSHAKE_WAIT).await;
    // The kernel itself is asked: what it holds, the runtime may not have heard of.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Some(place) = places.take(core.ingress().connections_max)
        && let Ok((stream, peer)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        serve(&core, stream, peer, place);
    }
}

/// Makes the kernel drop what asks for a connection: whoever comes between the last accept and the close
/// is refused when it asks again, and not reset after it has sent a request.
#[cfg(target_os = "linux")]
fn refuse_handshakes(listener: &TcpListener) {
    use socket2::SockFilter;
    /// Where a TCP header holds its flags, and the one that begins a handshake (RFC 9293 section 3.1).
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const DROP_SYN: [SockFilter; 4] = [
        SockFilter::new(0x30, 0, 0, FLAGS_OFFSET), // ldb [13]
        SockFilter::new(0x45, 0, 1, SYN),          // jset #2, next, the one after
        SockFilter::new(0x06, 0, 0, 0),            // ret #0: keep no byte
        SockFilter::new(0x06, 0, 0, u32::MAX),     // ret #-1: keep all
    ];
    // Without it the moment is as short as it was.
    let _ = socket2::SockRef::from(listener).attach_filter(&DROP_SYN);
}

#[cfg(not(target_os = "linux"))]
fn refuse_handshakes(_: &TcpListener) {}

async fn free_place(core: &Core, places: &Arc<Places>) -> Place {
    let mut paused = false;
    loop {
        let freed = places.freed.notified();
        if let Some(place) = places.take(core.ingress().connections_max) {
            return place;
        }
        if !std::mem::replace(&mut paused, true) {
            core.metrics().accept_paused.increment();
        }
        // A place that is freed on another core in this very moment is found at the next look.
        let _ = tokio::time::timeout(LIMIT_LOOK_INTERVAL, freed).await;
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

fn serve(core: &Rc<Core>, stream: TcpStream, peer: SocketAddr, place: Place) {
    if stream.set_nodelay(true).is_err() {
        return; // The client is gone already.
    }
    let open = OpenConnection::count(core, place);
    tokio::task::spawn_local(async move {
        connection::serve(Rc::new(open), Box::new(stream), peer).await;
    });
}

/// Counts a client connection until it is dropped, whatever ends it.
pub(super) struct OpenConnection {
    core: Rc<Core>,
    _place: Place,
}

impl OpenConnection {
    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    fn count(core: &Rc<Core>, place: Place) -> Self {
        core.metrics().connections_accepted.increment();
        core.metrics().connections_open.increment();
        Self {
            core: Rc::clone(core),
            _place: place,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.core.metrics().connections_open.decrement();
    }
}
