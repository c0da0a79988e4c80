//! One core's listeners: accepts, bounds and counts client connections.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection;
use super::core::Core;
use super::stop::Stop;
use crate::ports::net::BoxedStream;

/// Connections that the kernel holds before they are accepted; it applies its own bound too.
const BACKLOG: i32 = 65_535;
/// The wait after the process ran out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
pub(super) async fn run(core: Rc<Core>, listener: TcpListener, places: Arc<Semaphore>, stop: Stop) {
    let mut stopping = stop.clone();
    loop {
        let place = tokio::select! {
            biased;
            _ = stopping.requested() => break,
            place = free_place(&core, &places) => place,
        };
        tokio::select! {
            biased;
            _ = stopping.requested() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => serve(&core, stream, peer, place, &stop),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    // The kernel itself is asked: what it holds, the runtime may not have heard of.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok(place) = Arc::clone(&places).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        serve(&core, stream, peer, place, &stop);
    }
}

async fn free_place(core: &Core, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return place;
    }
    core.metrics().accept_paused.increment();
    Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

fn serve(
    core: &Rc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    stop: &Stop,
) {
    if stream.set_nodelay(true).is_err() {
        return; // The client is gone already.
    }
    let (core, stop) = (Rc::clone(core), stop.clone());
    tokio::task::spawn_local(async move {
        core.metrics().connections_accepted.increment();
        core.metrics().connections_open.increment();
        let stream: BoxedStream = Box::new(stream);
        connection::serve(&core, stream, peer, stop).await;
        core.metrics().connections_open.decrement();
        drop(place);
    });
}
