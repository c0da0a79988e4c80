//! One process of the mesh: its start, and every way to its end.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout_at};

/// A running process of the mesh. It ends when this is dropped or this process dies.
pub(super) struct Process {
    pub(super) child: Child,
    /// The process stops when its standard input ends; waiting for a child would close it.
    _stdin: Option<ChildStdin>,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        // Ctrl-C is for the parent, which stops everyone in order.
        let mut child = command
            .stdin(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            _stdin: child.stdin.take(),
            child,
        })
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Asks it to finish what runs.
    pub(super) fn terminate(&mut self) {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended a moment ago.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end, then kills it.
    pub(super) async fn finish(&mut self, deadline: Instant) {
        if timeout_at(deadline, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it at once; it may have ended before.
    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}
