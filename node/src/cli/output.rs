//! What commands print, and how they fail.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use weir_core::error::chain;
use weir_core::text::printable;

use crate::node::NodeError;
use crate::telemetry::logs;

/// How long a command waits for a node.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people.
    Text,
    /// One JSON document.
    Json,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The node said no.
    #[error("{}", told(.0))]
    Refused(tonic::Status),
    /// The node cannot be reached.
    #[error("no node answers at {0}; is it running? (--node ADDRESS or WEIR_NODE says where)")]
    NoNode(String),
    /// No instance of the control plane can be reached, or none could do it.
    #[error("{0}")]
    Away(String),
    /// A node did not start or end well.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The configuration has problems, all named.
    #[error("{0}")]
    Config(String),
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Anything else, said in one line.
    #[error("{0}")]
    Other(String),
}

/// How the message begins that tonic makes when the other side speaks no gRPC.
const NO_GRPC: &str = "grpc-status header missing";

/// And when it speaks HTTP/2, and says something in its answer.
const ODD_MESSAGE: &str = "protocol error: received message with invalid compression flag";

/// Whether what answered is no server of gRPC.
pub(super) fn is_no_grpc(status: &tonic::Status) -> bool {
    let told = status.message();
    let source = std::error::Error::source(status);
    let causes = source.map(chain).unwrap_or_default();
    told.starts_with(NO_GRPC)
        || told.starts_with(ODD_MESSAGE)
        || ["frame with invalid size", "invalid frame"]
            .iter()
            .any(|odd| causes.contains(odd))
}

/// Whether what answered is a server of gRPC that has never heard of what was asked.
pub(super) fn is_stranger(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::Unimplemented && status.message().is_empty()
}

fn told(status: &tonic::Status) -> String {
    if is_no_grpc(status) {
        return "what answers there speaks no gRPC; the node's gRPC address is wanted (port 7400, not 7480 or 8080)"
            .to_owned();
    }
    if is_stranger(status) {
        return "what answers there is no node, or one of another version; a node's gRPC address is wanted (port \
                7400, not the control plane's 7500)"
            .to_owned();
    }
    match status.message() {
        "" => format!("no reason was given ({})", status.code().description()),
        told => told.to_owned(),
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(status)
    }
}

impl Failure {
    fn code(&self) -> u8 {
        use tonic::Code;
        match self {
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument => 2,
                Code::NotFound => 4,
                Code::Aborted => 5,
                Code::Unauthenticated | Code::PermissionDenied => 6,
                _ => 1,
            },
            Self::NoNode(_) | Self::Away(_) => 3,
            Self::Usage(_) => 2,
            Self::Config(_)
            | Self::Node(NodeError::Config { .. } | NodeError::Unreadable { .. }) => 64,
            Self::Node(_) | Self::System(_) | Self::Other(_) => 1,
        }
    }

    /// Says it once, on standard error.
    pub(super) fn report(&self) -> ExitCode {
        logs::say_last(&format!("weir: {self}"));
        ExitCode::from(self.code())
    }
}

/// Says something beside what a command prints, on standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "weir: {}", printable(text));
}

/// A channel to the node at `address`.
pub(super) async fn connect(address: &str) -> Result<Channel, Failure> {
    let url = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(url).ok();
    let with_port = endpoint.filter(|endpoint| endpoint.uri().port_u16().is_some());
    let refused = || format!("--node: `{address}` is no address; expected HOST:PORT");
    with_port
        .ok_or_else(|| Failure::Usage(refused()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(NODE_TIMEOUT)
        .connect()
        .await
        .map_err(|_| Failure::NoNode(address.to_owned()))
}

/// Prints lines. What would move the terminal is written as an escape: names and reasons come from elsewhere.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    print_raw(&lines.join("\n"))
}

/// Prints text as it is. A reader that has left ends the command quietly.
pub(super) fn print_raw(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Prints a document as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.to_string()))?;
    print(&json)
}

/// A message as JSON, whose `field` of bytes is their text, or is absent and has them as `field_base64` when they are
/// no UTF-8.
pub(super) fn with_bytes(
    message: &impl Serialize,
    field: &str,
    bytes: &[u8],
) -> Result<Value, Failure> {
    let mut told =
        serde_json::to_value(message).map_err(|error| Failure::Other(error.to_string()))?;
    if let Some(fields) = told.as_object_mut() {
        fields.remove(field);
        let (field, text) = match std::str::from_utf8(bytes) {
            Ok(text) => (field.to_owned(), text.to_owned()),
            Err(_) => (format!("{field}_base64"), BASE64_STANDARD.encode(bytes)),
        };
        fields.insert(field, text.into());
    }
    Ok(told)
}

/// Columns as wide as their widest cell, the first row being the heading.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    table_in(&mut Vec::new(), rows)
}

/// Rows in columns of these widths, in characters, which grow with what does not fit.
pub(super) fn table_in(widths: &mut Vec<usize>, rows: &[Vec<String>]) -> String {
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&*widths)
                .map(|(cell, width)| format!("{:<width$}", printable(cell)))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_is_named_with_host_and_port() {
        for bad in [
            "nonsense",
            "node-2",
            "http://node-2",
            "node-2:x",
            "",
            "two words:1",
        ] {
            let refused = connect(bad).await.unwrap_err().to_string();
            let expected = format!("--node: `{bad}` is no address; expected HOST:PORT");
            assert_eq!(refused, expected);
        }
    }

    #[test]
    fn no_refusal_is_told_without_words() {
        let told = |status| Failure::Refused(status).to_string();
        let stranger = told(tonic::Status::unimplemented(""));
        assert!(stranger.contains("is no node"), "{stranger}");
        let odd = format!("{ODD_MESSAGE}: 116 (valid flags are 0 and 1)");
        for text in [odd.as_str(), NO_GRPC] {
            let page = told(tonic::Status::internal(text));
            assert!(page.contains("speaks no gRPC"), "{page}");
        }
        assert_eq!(told(tonic::Status::internal("it is full")), "it is full");
        assert_ne!(told(tonic::Status::internal("")), "");
    }

    #[test]
    fn bytes_are_told_as_text_or_by_their_own_name() {
        #[derive(Serialize)]
        struct Told {
            value: Vec<u8>,
            tier: &'static str,
        }
        let json = |bytes: &[u8]| {
            let told = Told {
                value: bytes.to_vec(),
                tier: "memory",
            };
            with_bytes(&told, "value", bytes).unwrap()
        };
        let text = serde_json::json!({ "tier": "memory", "value": "Ada" });
        assert_eq!(json(b"Ada"), text);
        let other = serde_json::json!({ "tier": "memory", "value_base64": "/wA=" });
        assert_eq!(json(b"\xff\0"), other);
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["A".into(), "LONG".into()],
            vec!["wide cell".into(), "x".into()],
        ];
        assert_eq!(table(&rows), "A          LONG\nwide cell  x");
    }
}
