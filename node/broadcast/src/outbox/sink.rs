//! The short way of a frame: into the stream of a task that rests.

use bytes::Bytes;

/// What a connection's task writes to, for whoever has a frame for it while it rests. It spares the task's turn.
///
/// The task may have begun to write something of its own since it last awaited [`Connection::ready`]: whoever
/// implements this answers [`Sent::Busy`] while that is on its way. The task drops the connection before it writes its
/// last frame.
///
/// [`Connection::ready`]: crate::Connection::ready
pub trait Sink {
    /// Writes as much of a frame as the system takes without a wait.
    fn send(&self, frame: &Bytes) -> Sent;
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is written.
    Whole,
    /// What is left of it is the task's to write, which is to be woken.
    Begun,
    /// Nothing: the task writes something else.
    Busy,
}
