//! Why a driver did not do what it was asked.

use std::io;
use std::time::Duration;

/// Why a driver did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in the specification is not for this driver.
    #[error("{field} = {value}: {bound}")]
    Invalid {
        /// Which field of [`super::EngineSpec`].
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        bound: &'static str,
    },
    /// Something of that name runs with a higher fence: whoever asks is late.
    #[error("`{name}` runs already, with fence {theirs}, and {ours} was asked for")]
    Fenced {
        /// The engine.
        name: String,
        /// Asked for.
        ours: u64,
        /// There.
        theirs: u64,
    },
    /// Something that is not ours has the name.
    #[error("the name `{0}` is taken by something that this Weir did not start")]
    NameTaken(String),
    /// There is no such engine.
    #[error("no engine is called `{0}`")]
    Unknown(String),
    /// The image is not on this machine.
    #[error("image `{0}` is not on this machine; pull it first")]
    NoImage(String),
    /// The program, network or container that it needs is not there.
    #[error("{what} `{name}` is not there")]
    Missing {
        /// What: `program`, `network`, `container`.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// It ended before it was started for good.
    #[error("it ended at once with code {code}: {last_line}")]
    EndedAtOnce {
        /// As in [`super::State::Ended`].
        code: i64,
        /// What it wrote last.
        last_line: String,
    },
    /// A host port is in use.
    #[error("host port {0} is in use")]
    PortInUse(u16),
    /// Nobody answered in time.
    #[error("{operation} took longer than {limit:?}")]
    Late {
        /// What was done.
        operation: &'static str,
        /// The deadline.
        limit: Duration,
    },
    /// What runs engines cannot be reached.
    #[error("{what} cannot be reached: {source}")]
    Unreachable {
        /// What: the Docker socket, say.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("{operation} was refused: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// What it said.
        message: String,
    },
    /// The system said no.
    #[error("{operation}: {source}")]
    System {
        /// What was done.
        operation: &'static str,
        /// What it said.
        source: io::Error,
    },
}
