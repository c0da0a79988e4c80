//! Gives a request the form in which a backend gets it.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use hyper::body::Incoming;
use weir_core::proxy;

use super::exchange::Exchange;
use super::request::{Routed, Upgrade};
use super::upload::UploadBody;
use crate::config::Protocol;

/// Gives the request the form that the service's protocol wants.
pub(super) fn prepare(
    routed: &Routed,
    request: Request<Option<Incoming>>,
    upgrade: Option<&Upgrade>,
    exchange: &mut Exchange,
) -> Box<Request<UploadBody>> {
    let service = routed.service();
    let presence = routed.asked.presence;
    let (mut parts, body) = request.into_parts();
    let (body, upload) = match body {
        Some(body) => UploadBody::new(body, exchange.started),
        None => (UploadBody::none(), None),
    };
    exchange.upload = upload;
    // The body's own framing is what counts, not what the client's head said of it; but some servers
    // want to be told that there is none.
    if presence.has_content_length()
        && (exchange.upload.is_some() || !is_zero(parts.headers.get(CONTENT_LENGTH)))
    {
        parts.headers.remove(CONTENT_LENGTH);
    }
    proxy::pin_host(&parts.uri, &mut parts.headers);
    if presence.has_split_cookie() {
        join_cookies(&mut parts.headers);
    }
    let named = parts.headers.get(HOST).is_some_and(|host| !host.is_empty());
    if !named && let Ok(host) = HeaderValue::from_str(service.settings.name.as_str()) {
        parts.headers.insert(HOST, host);
    }
    let target = parts.uri.into_parts().path_and_query;
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    match service.settings.protocol {
        Protocol::Http1 => parts.version = Version::HTTP_11,
        Protocol::Http2 => {
            parts.version = Version::HTTP_2;
            let host = parts.headers.remove(HOST);
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        }
    }
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    if let Some(upgrade) = upgrade {
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, upgrade.protocol.clone());
    }
    Box::new(Request::from_parts(parts, body))
}

fn is_zero(length: Option<&HeaderValue>) -> bool {
    length.is_some_and(|length| length == "0")
}

/// HTTP/2 clients may split `Cookie`; HTTP/1.1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}
