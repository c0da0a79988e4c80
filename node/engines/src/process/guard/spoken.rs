//! The guard's side of its talk with the node.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::process::wire::{Job, Order, Report, line_of, message_in};

/// How long a node may take to read what it is told.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The node at the other end of standard input and output.
pub(super) struct Node {
    orders: Lines<BufReader<pipe::Receiver>>,
    reports: pipe::Sender,
    is_gone: bool,
}

impl Node {
    /// # Errors
    /// When standard input and output are no pipes.
    pub(super) fn new() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            orders: BufReader::new(pipe::Receiver::from_owned_fd(stdin)?).lines(),
            reports: pipe::Sender::from_owned_fd(stdout)?,
            is_gone: false,
        })
    }

    /// What to guard; `None` when the node is gone before it said so.
    pub(super) async fn job(&mut self) -> io::Result<Option<Job>> {
        match self.orders.next_line().await? {
            Some(line) => message_in(&line).map(Some),
            None => Ok(None),
        }
    }

    /// The next order; once `None` when the node is gone, and nothing ever after.
    pub(super) async fn order(&mut self) -> Option<Order> {
        if self.is_gone {
            return std::future::pending().await;
        }
        // An order that cannot be read comes from no node of this kind.
        let order = match self.orders.next_line().await {
            Ok(Some(line)) => message_in(&line).ok(),
            _ => None,
        };
        self.is_gone = order.is_none();
        order
    }

    /// Tells the node; one that is gone or does not read is left alone.
    pub(super) async fn tell(&mut self, report: &Report) {
        if let Ok(line) = line_of(report) {
            let _ = timeout(TELL_TIMEOUT, self.reports.write_all(&line)).await;
        }
    }

    /// Tells it if it reads just now. So short a line goes whole or not at all.
    pub(super) fn mention(&mut self, report: &Report) {
        if let Ok(line) = line_of(report) {
            let _ = self.reports.try_write(&line);
        }
    }
}
