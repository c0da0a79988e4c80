//! Which fields of a response are stored (RFC 9111 section 3.1), and which of a request are not sent on.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::proxy::{TooManyNominees, strip_hop_by_hop};

use super::dates;
use super::directives::{Deciding, Directives};
use super::policy::Policy;
use super::stored::Exchange;

/// Fields that no stored response has beside those of one connection: `Age` is counted anew, the others are between
/// client and proxy or about a message that is not stored as it came.
static NOT_STORED: [HeaderName; 6] = [
    header::AGE,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
];

/// By this field nodes tell each other that one asks in another's place. It is for them alone.
pub const CACHE_HOP: &str = "x-weir-cache-hop";

/// Fields by which a client could change what the origin answers without changing the key.
const UNKEYED: [&str; 15] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-host",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-original-host",
    "x-url-scheme",
    "front-end-https",
    CACHE_HOP,
];

/// Bit N: one of them has N bytes.
const UNKEYED_LENGTHS: u32 = {
    let (mut lengths, mut at) = (0, 0);
    while at < UNKEYED.len() {
        lengths |= 1 << UNKEYED[at].len();
        at += 1;
    }
    lengths
};

/// Removes from a request what could change the answer without changing its key, before it is sent to the origin.
/// `Forwarded` and `X-Forwarded-*` are for whoever sets them to keep true: the key holds what they say.
pub fn strip_unkeyed(request: &mut HeaderMap) {
    // Hardly a request has one, and a look at its few names costs less than to look for each of these.
    if request.keys().any(is_unkeyed) {
        UNKEYED.iter().for_each(|name| _ = request.remove(*name));
    }
}

fn is_unkeyed(name: &HeaderName) -> bool {
    let name = name.as_str();
    let has_length = 1_u32.checked_shl(name.len() as u32).unwrap_or(0) & UNKEYED_LENGTHS != 0;
    has_length && UNKEYED.contains(&name)
}

/// The fields of a response as they are stored. `Date` is added if there is none that can be read
/// (RFC 9110 section 6.6.1).
pub(super) fn storable(
    exchange: &Exchange<'_>,
    directives: &Directives,
    policy: &Policy,
) -> Result<HeaderMap, TooManyNominees> {
    let mut headers = exchange.response.clone();
    strip_hop_by_hop(&mut headers)?;
    for name in NOT_STORED.iter().chain(&directives.omitted) {
        headers.remove(name);
    }
    if policy.set_cookie == super::SetCookie::Strip {
        headers.remove(header::SET_COOKIE);
    }
    let has_date = headers
        .get(header::DATE)
        .is_some_and(|date| dates::parse(date.as_bytes(), exchange.responded_at).is_some());
    if !has_date && let Ok(date) = HeaderValue::try_from(dates::format(exchange.responded_at)) {
        headers.insert(header::DATE, date);
    }
    keep_nothing_else(&mut headers);
    Ok(headers)
}

/// Puts the values into memory of their own. As they came they are parts of what a connection has read, and each would
/// keep all of that.
fn keep_nothing_else(headers: &mut HeaderMap) {
    let mut values = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        values.extend_from_slice(value.as_bytes());
    }
    let mut values = values.freeze();
    for value in headers.values_mut() {
        let own = HeaderValue::from_maybe_shared(values.split_to(value.len()));
        if let Ok(mut own) = own {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
}

/// The fields of a response that only the client gets whose request fetched it: those that `private` or `no-cache`
/// names (RFC 9111 sections 5.2.2.4 and 5.2.2.7), and the cookies that the route strips from what is stored.
pub fn left_out(exchange: &Exchange<'_>, policy: &Policy) -> HeaderMap {
    let mut names = Deciding::of(exchange.response, &policy.targets)
        .directives
        .omitted;
    if policy.set_cookie == super::SetCookie::Strip && !names.contains(&header::SET_COOKIE) {
        names.push(header::SET_COOKIE);
    }
    // The length is of what is sent, and who sends it says so.
    names.retain(|name| {
        let is_sent = exchange.response.contains_key(name);
        is_sent && !NOT_STORED.contains(name) && *name != header::CONTENT_LENGTH
    });
    if names.is_empty() {
        return HeaderMap::new();
    }
    let mut came = exchange.response.clone();
    if strip_hop_by_hop(&mut came).is_err() {
        return HeaderMap::new();
    }
    let fields = names
        .iter()
        .flat_map(|name| came.get_all(name).iter().map(move |value| (name, value)));
    let mut left_out = HeaderMap::new();
    for (name, value) in fields {
        left_out.append(name, value.clone());
    }
    left_out
}

/// `Content-Length`, in bytes.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
