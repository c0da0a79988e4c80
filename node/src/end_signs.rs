//! What tells a node to end or to look at its file again: signals, and whoever started it.

use std::io;
use std::os::fd::AsFd as _;

use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal tells.
pub(crate) enum Told {
    /// To end.
    Stop,
    /// To look at the file again.
    Reload,
}

/// Signals that the node listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

/// Whoever started this node holds the other end of its standard input; this ends when they are gone.
pub(crate) struct Parent(Option<pipe::Receiver>);

impl Parent {
    pub(crate) fn new(watched: bool) -> io::Result<Self> {
        if !watched {
            return Ok(Self(None));
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(Some(pipe::Receiver::from_owned_fd(stdin)?)))
    }

    pub(crate) async fn gone(&mut self) {
        match &mut self.0 {
            Some(stdin) => drop(tokio::io::copy(stdin, &mut tokio::io::sink()).await),
            None => std::future::pending().await,
        }
    }
}
