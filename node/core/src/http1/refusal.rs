//! Why a request is not let through.

use thiserror::Error;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:literal $reason:literal,)*) => {
        /// Why the guard refused the client's bytes. The connection cannot be used further: where
        /// the next request starts is no longer known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
        #[error("{}", self.reason())]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// The status code to answer with before closing.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// A stable, machine-readable name for logs and metrics.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }
        }
    };
}

refusals! {
    /// A line ends in LF without CR (RFC 9112 section 2.2 permits this leniency; smuggling uses it).
    BareLf 400 "bare-lf",
    /// A CR that no LF follows (RFC 9112 section 2.2).
    BareCr 400 "bare-cr",
    /// NUL or another control character in a line (RFC 9110 section 5.5).
    ControlCharacter 400 "control-character",
    /// More than two empty lines before a request line (RFC 9112 section 2.2).
    EmptyLines 400 "empty-lines",
    /// Not `method SP target SP version` (RFC 9112 section 3).
    BadRequestLine 400 "bad-request-line",
    /// The method is not a token (RFC 9110 section 9.1).
    BadMethod 400 "bad-method",
    /// Neither origin-form, absolute-form nor `OPTIONS *` (RFC 9112 section 3.2).
    BadTarget 400 "bad-target",
    /// The request line is longer than allowed.
    TargetTooLong 414 "target-too-long",
    /// Not HTTP/1.0 or HTTP/1.1.
    UnsupportedVersion 505 "unsupported-version",
    /// Weir is a gateway, it opens no tunnels to where the client says (RFC 9110 section 9.3.6).
    ConnectMethod 405 "connect-method",
    /// The head or the trailer section is longer than allowed.
    HeadTooLarge 431 "head-too-large",
    /// More header or trailer lines than allowed.
    TooManyHeaders 431 "too-many-headers",
    /// A header line that continues the one before (RFC 9112 section 5.2).
    LineFolding 400 "line-folding",
    /// A header line without a colon.
    MissingColon 400 "missing-colon",
    /// The field name is empty or not a token (RFC 9110 section 5.1).
    BadFieldName 400 "bad-field-name",
    /// Whitespace between field name and colon (RFC 9112 section 5.1).
    SpaceBeforeColon 400 "space-before-colon",
    /// HTTP/1.1 without Host (RFC 9112 section 3.2).
    MissingHost 400 "missing-host",
    /// More than one Host line (RFC 9112 section 3.2).
    RepeatedHost 400 "repeated-host",
    /// The Host value is not `host[:port]` (RFC 9110 section 7.2).
    BadHost 400 "bad-host",
    /// Content-Length is not one number below 2^63 (RFC 9110 section 8.6).
    BadContentLength 400 "bad-content-length",
    /// More than one Content-Length line, equal or not (RFC 9112 section 6.3).
    RepeatedContentLength 400 "repeated-content-length",
    /// A transfer coding other than exactly `chunked` (RFC 9112 section 6.1).
    UnsupportedTransferCoding 501 "unsupported-transfer-coding",
    /// More than one Transfer-Encoding line.
    RepeatedTransferEncoding 400 "repeated-transfer-encoding",
    /// Transfer-Encoding in HTTP/1.0, which does not know it (RFC 9112 section 6.1).
    TransferEncodingInHttp10 400 "transfer-encoding-in-http-1.0",
    /// Content-Length and Transfer-Encoding in one head (RFC 9112 section 6.1).
    LengthAndTransferEncoding 400 "length-and-transfer-encoding",
    /// The chunk size is missing, not hexadecimal, or followed by garbage (RFC 9112 section 7.1).
    BadChunkSize 400 "bad-chunk-size",
    /// The chunk size is 2^63 or more.
    ChunkSizeOverflow 400 "chunk-size-overflow",
    /// The chunk-size line is longer than allowed.
    ChunkLineTooLong 400 "chunk-line-too-long",
    /// Chunk data is not followed by CRLF (RFC 9112 section 7.1).
    BadChunkEnd 400 "bad-chunk-end",
    /// A trailer that frames or routes the message (RFC 9110 section 6.5.1).
    ForbiddenTrailer 400 "forbidden-trailer",
}
