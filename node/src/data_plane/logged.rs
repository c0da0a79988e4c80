//! What the access log tells of one request.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{HOST, REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Version};
use weir_core::access_log::{Format, Line};

use super::connection::Client;
use super::core::Core;
use super::trace::REQUEST_ID;

/// What a request's head said, kept until it has ended.
pub(super) struct Logged {
    format: Format,
    at_unix_ms: u64,
    /// Whoever it comes from, as far as proxies before the node are believed.
    pub(super) client: IpAddr,
    method: Method,
    target: Option<PathAndQuery>,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
}

/// How it ended.
pub(super) struct Ended<'a> {
    pub(super) status: u16,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) took: Duration,
    pub(super) service: &'a str,
    pub(super) backend: &'a str,
    pub(super) cache: &'a str,
    pub(super) reason: &'a str,
    pub(super) trace_id: u128,
}

impl Logged {
    /// `None` when requests are not written down.
    pub(super) fn begin<B>(
        core: &Core,
        client: &Client,
        request: &Request<B>,
    ) -> Option<Box<Self>> {
        let format = core.access_lines.format()?;
        let (uri, headers) = (request.uri(), request.headers());
        let host = match uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(HOST).cloned(),
        };
        Some(Box::new(Self {
            format,
            at_unix_ms: core.parts.clock.unix_ms_now(),
            client: client.peer.ip().to_canonical(),
            method: request.method().clone(),
            target: uri.path_and_query().cloned(),
            version: request.version(),
            host,
            referer: headers.get(REFERER).cloned(),
            user_agent: headers.get(USER_AGENT).cloned(),
            request_id: headers.get(REQUEST_ID).cloned(),
        }))
    }

    pub(super) fn write(&self, core: &Core, ended: &Ended<'_>) {
        let line = Line {
            at_unix_ms: self.at_unix_ms,
            client: self.client,
            method: &self.method,
            target: self.target.as_ref(),
            version: self.version,
            host: self.host.as_ref(),
            referer: self.referer.as_ref(),
            user_agent: self.user_agent.as_ref(),
            status: ended.status,
            bytes_sent: ended.bytes_sent,
            bytes_received: ended.bytes_received,
            took: ended.took,
            service: ended.service,
            backend: ended.backend,
            cache: ended.cache,
            reason: ended.reason,
            trace_id: ended.trace_id,
            request_id: self.request_id.as_ref(),
        };
        core.access_lines.add(&line, self.format);
    }
}
