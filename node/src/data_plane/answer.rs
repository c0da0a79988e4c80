//! The node's own answers: one closed list of reasons, each with its status and counter.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::ResponseBody;

/// The header that tells why the node answered itself.
pub const REASON_HEADER: HeaderName = HeaderName::from_static("x-weir-reason");

/// Seconds that `Retry-After` suggests when no backend can take work.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $grpc:literal;)*) => {
        /// Why the node answered a request itself or cut an answer short.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in counter order.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// As it stands in the reason header, in metrics and traces.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The HTTP status of the answer.
            pub fn status(self) -> StatusCode {
                let code: u16 = match self { $(Reason::$name => $status,)* };
                StatusCode::from_u16(code).expect("the table holds valid codes")
            }

            /// The gRPC status of the answer.
            pub const fn grpc_code(self) -> u8 {
                match self { $(Reason::$name => $grpc,)* }
            }

            const fn header_value(self) -> HeaderValue {
                match self { $(Reason::$name => HeaderValue::from_static($text),)* }
            }
        }
    };
}

reasons! {
    /// The request breaks a rule of HTTP.
    BadRequest = "bad_request", 400, 13;
    /// More header lines than allowed.
    TooManyHeaders = "too_many_headers", 431, 8;
    /// The authority is malformed, missing or contradicts `Host`.
    BadAuthority = "bad_authority", 400, 13;
    /// The path cannot be normalised.
    BadPath = "bad_path", 400, 13;
    /// A method that the node does not proxy (CONNECT, TRACE).
    MethodRefused = "method_refused", 405, 12;
    /// The request came through this mesh too often.
    LoopDetected = "loop_detected", 508, 13;
    /// No route matches.
    NoRoute = "no_route", 404, 12;
    /// The service has no backend at all.
    NoBackend = "no_backend", 503, 14;
    /// Every backend of the service is out.
    AllBackendsOut = "all_backends_out", 503, 14;
    /// No engine became ready within the wait.
    EngineNotReady = "engine_not_ready", 503, 14;
    /// As many requests wait for an engine as may.
    EngineWaitFull = "engine_wait_full", 503, 8;
    /// The node drains or stops, and lets nobody wait for an engine.
    NodeLeaving = "node_leaving", 503, 14;
    /// As many connections to the backends are open as may be.
    PoolFull = "pool_full", 503, 14;
    /// This node has no file descriptor left for a connection.
    OutOfDescriptors = "out_of_descriptors", 503, 8;
    /// No connection to any backend that was tried.
    ConnectFailed = "connect_failed", 502, 14;
    /// No connection within the connect timeout.
    ConnectTimeout = "connect_timeout", 504, 14;
    /// The backend closed or reset before it answered.
    BackendReset = "backend_reset", 502, 14;
    /// The backend's answer breaks a rule of HTTP.
    BackendInvalid = "backend_invalid", 502, 13;
    /// The backend did not take the request in time.
    SendTimeout = "send_timeout", 504, 4;
    /// The backend did not answer in time.
    ReadTimeout = "read_timeout", 504, 4;
    /// The client let its gRPC stream rest for too long.
    StreamIdle = "stream_idle", 504, 4;
    /// The client took nothing of the answer for too long.
    ClientStalled = "client_stalled", 408, 1;
    /// The exchange took longer than allowed.
    TotalTimeout = "total_timeout", 504, 4;
    /// The client's gRPC deadline passed.
    DeadlineExceeded = "deadline_exceeded", 504, 4;
    /// The client paused too long while it sent the body.
    ClientBodyTimeout = "client_body_timeout", 408, 4;
    /// The client broke off while it sent the body.
    ClientBodyCut = "client_body_cut", 400, 1;
    /// What this request waited for beside others failed twice: the backend answered with 5xx.
    SharedFetchFailed = "shared_fetch_failed", 502, 14;
    /// The client wants a stored answer or none, and there is none.
    NotCached = "not_cached", 504, 14;
    /// The service's backends speak a protocol without this upgrade.
    UpgradeRefused = "upgrade_refused", 502, 12;
    /// The path names no file.
    FileNotFound = "file_not_found", 404, 5;
    /// The file may not be read or served, or leads out of its root; or a directory without an index.
    FileForbidden = "file_forbidden", 403, 7;
    /// The file cannot be read.
    FileError = "file_error", 500, 13;
    /// The file became another one while it was sent.
    FileChanged = "file_changed", 500, 13;
    /// Files are read with GET and HEAD.
    MethodNotAllowed = "method_not_allowed", 405, 12;
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    PreconditionFailed = "precondition_failed", 412, 9;
    /// The backend broke off while it sent the body.
    BackendBodyCut = "backend_body_cut", 502, 14;
}

impl Reason {
    /// True when it says that the backend failed.
    pub fn blames_backend(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::BackendReset
                | Self::BackendInvalid
                | Self::SendTimeout
                | Self::ReadTimeout
                | Self::BackendBodyCut
        )
    }

    /// The whole answer: plain HTTP, or gRPC trailers-only when the client speaks gRPC.
    pub fn answer(self, grpc: bool) -> Response<ResponseBody> {
        if grpc {
            self.grpc_answer()
        } else {
            self.http_answer()
        }
    }

    fn http_answer(self) -> Response<ResponseBody> {
        let status = self.status();
        let text = format!(
            "{{\"status\":{},\"reason\":\"{}\"}}\n",
            status.as_u16(),
            self.as_str()
        );
        let mut response = Response::new(ResponseBody::full(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.mark(headers);
        response
    }

    fn grpc_answer(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.extend(self.grpc_trailers());
        self.mark(headers);
        response
    }

    /// The end of a gRPC answer that had begun.
    pub(super) fn grpc_trailers(self) -> HeaderMap {
        let code = HeaderValue::from(u16::from(self.grpc_code()));
        HeaderMap::from_iter([
            (HeaderName::from_static("grpc-status"), code),
            (HeaderName::from_static("grpc-message"), self.header_value()),
        ])
    }

    fn mark(self, headers: &mut HeaderMap) {
        headers.insert(REASON_HEADER, self.header_value());
        if self == Self::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
    }
}
