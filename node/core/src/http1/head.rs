//! Reads one request head: the request line and the header section.

use crate::proxy::Authority;

use super::fields::{content_length, list_has, split_field};
use super::limits::Limits;
use super::lines::Lines;
use super::refusal::Refusal;
use super::target::check_request_line;

/// Clients that end a body with a surplus CRLF exist; RFC 9112 section 2.2 asks to ignore it.
const EMPTY_LINES_MAX: u8 = 2;

/// What frames a request, as its head says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// HTTP/1.1; otherwise HTTP/1.0.
    pub is_http11: bool,
    /// The body's length in bytes, if the head has a Content-Length.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub is_chunked: bool,
    /// The client asks to leave HTTP after this request (RFC 9110 section 7.8).
    pub expects_upgrade: bool,
}

/// A head that is being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadReader {
    lines: Lines,
    head: Head,
    empty_lines: u8,
    has_request_line: bool,
    has_host: bool,
    names_upgrade: bool,
    has_upgrade: bool,
    fields: usize,
}

impl HeadReader {
    /// Reads on. `bytes` starts where the head starts. The head and its length in bytes once it
    /// is complete.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Head, usize)>, Refusal> {
        while !self.has_request_line {
            let end_max = self.lines.line_start() + limits.request_line_bytes_max;
            let Some(line) = self.lines.next(bytes, end_max, Refusal::TargetTooLong)? else {
                return Ok(None);
            };
            self.first_line(line)?;
        }
        loop {
            let end_max = limits.head_bytes_max;
            let Some(line) = self.lines.next(bytes, end_max, Refusal::HeadTooLarge)? else {
                return Ok(None);
            };
            if line.is_empty() {
                return Ok(Some((self.finish()?, self.lines.line_start())));
            }
            self.fields += 1;
            if self.fields > limits.headers_max {
                return Err(Refusal::TooManyHeaders);
            }
            let (name, value) = split_field(line)?;
            self.field(name, value)?;
        }
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES_MAX {
                return Err(Refusal::EmptyLines);
            }
            return Ok(());
        }
        if line.contains(&b'\r') {
            return Err(Refusal::BareCr);
        }
        self.head.is_http11 = check_request_line(line)?;
        self.has_request_line = true;
        Ok(())
    }

    /// Lengths first: nearly every header is told apart from these five without comparing text.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.has_upgrade |= !value.is_empty();
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.names_upgrade |= list_has(value, b"upgrade");
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.has_host {
            return Err(Refusal::RepeatedHost);
        }
        self.has_host = true;
        Authority::parse_bytes(value)
            .map(|_| ())
            .map_err(|_| Refusal::BadHost)
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.head.content_length.is_some() {
            return Err(Refusal::RepeatedContentLength);
        }
        self.head.content_length = Some(content_length(value)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !self.head.is_http11 {
            return Err(Refusal::TransferEncodingInHttp10);
        }
        if self.head.is_chunked {
            return Err(Refusal::RepeatedTransferEncoding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::UnsupportedTransferCoding);
        }
        self.head.is_chunked = true;
        Ok(())
    }

    fn finish(&mut self) -> Result<Head, Refusal> {
        if self.head.is_chunked && self.head.content_length.is_some() {
            return Err(Refusal::LengthAndTransferEncoding);
        }
        if self.head.is_http11 && !self.has_host {
            return Err(Refusal::MissingHost);
        }
        // RFC 9110 section 7.8: Upgrade in HTTP/1.0 is ignored.
        self.head.expects_upgrade = self.head.is_http11 && self.names_upgrade && self.has_upgrade;
        Ok(self.head)
    }
}
