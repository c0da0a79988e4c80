//! A line for each request: as JSON, or as web servers have long written it (`combined`).
//!
//! Whatever a client sent stands in a line as text: it cannot end the line, nor pass for another field.

mod escape;

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{Method, Version};
use thiserror::Error;

use self::escape::{Escape, text};
use crate::calendar;

/// Bytes of one value that are written; the rest is cut.
pub const VALUE_BYTES_MAX: usize = 2_048;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// As `combined` of web servers, then the seconds that the request took.
    Combined,
}

/// The name is none of a format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is neither json nor combined")]
pub struct UnknownFormat(pub String);

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "json" => Ok(Self::Json),
            "combined" => Ok(Self::Combined),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// What a line tells. Absent texts and zeros of ids are left out.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// When the request came, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The client's address.
    pub client: IpAddr,
    /// What it asked for.
    pub method: &'a Method,
    /// Path and query.
    pub target: Option<&'a PathAndQuery>,
    /// Of the request.
    pub version: Version,
    /// What it called the site.
    pub host: Option<&'a HeaderValue>,
    /// Where it was told of it.
    pub referer: Option<&'a HeaderValue>,
    /// Its name for itself.
    pub user_agent: Option<&'a HeaderValue>,
    /// 0 when it left before there was an answer.
    pub status: u16,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// Body bytes of the client.
    pub bytes_received: u64,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// The service that it went to.
    pub service: &'a str,
    /// The backend that answered, if one did.
    pub backend: &'a str,
    /// What became of it in the cache.
    pub cache: &'a str,
    /// Why the node answered itself.
    pub reason: &'a str,
    /// The trace.
    pub trace_id: u128,
    /// The client's name for the request.
    pub request_id: Option<&'a HeaderValue>,
}

impl Line<'_> {
    /// Appends the line with its end.
    pub fn write(&self, format: Format, into: &mut Vec<u8>) {
        match format {
            Format::Json => self.write_json(into),
            Format::Combined => self.write_combined(into),
        }
        into.push(b'\n');
    }

    fn write_json(&self, into: &mut Vec<u8>) {
        let at = calendar::rfc3339_ms(self.at_unix_ms);
        let ms = self.took.as_secs_f64() * 1e3;
        let _ = write!(into, "{{\"time\":\"{at}\",\"client\":\"{}\"", self.client);
        json(into, "method", self.method.as_str().as_bytes());
        json(into, "target", self.target().as_bytes());
        json(into, "protocol", protocol(self.version).as_bytes());
        for (key, value) in [
            ("host", self.host),
            ("referer", self.referer),
            ("user_agent", self.user_agent),
            ("request_id", self.request_id),
        ] {
            json(into, key, value.map_or(b"", HeaderValue::as_bytes));
        }
        let _ = write!(
            into,
            ",\"status\":{},\"bytes_sent\":{},\"bytes_received\":{},\"duration_ms\":{ms:.3}",
            self.status, self.bytes_sent, self.bytes_received
        );
        for (key, value) in [
            ("service", self.service),
            ("backend", self.backend),
            ("cache", self.cache),
            ("reason", self.reason),
        ] {
            json(into, key, value.as_bytes());
        }
        if self.trace_id != 0 {
            let _ = write!(into, ",\"trace_id\":\"{:032x}\"", self.trace_id);
        }
        into.push(b'}');
    }

    fn write_combined(&self, into: &mut Vec<u8>) {
        let at = calendar::common_log(self.at_unix_ms);
        let _ = write!(into, "{} - - [{at}] \"", self.client);
        text(into, self.method.as_str().as_bytes(), Escape::Quoted);
        into.push(b' ');
        text(into, self.target().as_bytes(), Escape::Quoted);
        let _ = write!(into, " {}\" {} ", protocol(self.version), self.status);
        match self.bytes_sent {
            0 => into.push(b'-'),
            bytes => _ = write!(into, "{bytes}"),
        }
        for value in [self.referer, self.user_agent] {
            into.extend(b" \"");
            text(
                into,
                value.map_or(b"-", HeaderValue::as_bytes),
                Escape::Quoted,
            );
            into.push(b'"');
        }
        let _ = write!(into, " {:.6}", self.took.as_secs_f64());
    }

    fn target(&self) -> &str {
        self.target.map_or("", PathAndQuery::as_str)
    }
}

/// A member after others, unless it is empty.
fn json(into: &mut Vec<u8>, key: &str, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    let _ = write!(into, ",\"{key}\":\"");
    text(into, value, Escape::Json);
    into.push(b'"');
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
