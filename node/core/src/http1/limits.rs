//! How much of a request is buffered before it is refused.

/// Bounds on one request, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header section together, line ends included; also a trailer section.
    /// More is `431`.
    pub head_bytes_max: usize,
    /// Number of header lines in a head, or of trailer lines. More is `431`.
    pub headers_max: usize,
    /// The request line with its line end. More is `414`. Never above `head_bytes_max`.
    pub request_line_bytes_max: usize,
    /// A chunk-size line with its extensions and line end. More is `400`.
    pub chunk_line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            request_line_bytes_max: 16 * 1024,
            chunk_line_bytes_max: 1024,
        }
    }
}

impl Limits {
    /// With the request line no longer than the head, so that which limit is hit first does not
    /// depend on how the bytes were split.
    pub(super) fn consistent(mut self) -> Self {
        self.request_line_bytes_max = self.request_line_bytes_max.min(self.head_bytes_max);
        self
    }
}
