//! Whether a response may be stored (RFC 9111 section 3), and what is kept of it.

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, DATE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use thiserror::Error;

use crate::proxy::TooManyNominees;

use super::directives::{self, Deciding, Directives};
use super::freshness::{self, Source};
use super::policy::{Policy, RequestCookie, SetCookie};
use super::stored::{Exchange, Flags, Stored};
use super::time::UnixMs;
use super::vary::{self, Variant, VaryBy};
use super::{dates, etag, extension, headers};

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum NotStored {
    /// Neither GET nor HEAD.
    #[error("method")]
    Method,
    /// HEAD brings no body to store.
    #[error("head")]
    Head,
    /// A status that is not stored.
    #[error("status")]
    Status,
    /// Part of a representation.
    #[error("partial")]
    Partial,
    /// `no-store` in the response.
    #[error("no-store")]
    NoStore,
    /// `no-store` in the request.
    #[error("request-no-store")]
    RequestNoStore,
    /// `private` in the response.
    #[error("private")]
    Private,
    /// `Authorization` in the request and no leave to share in the response (RFC 9111 section 3.5).
    #[error("authorization")]
    Authorization,
    /// `Set-Cookie` in the response.
    #[error("set-cookie")]
    SetCookie,
    /// `Cookie` in the request and nothing in the response that says it is for everybody.
    #[error("cookie")]
    Cookie,
    /// `Vary: *`.
    #[error("vary-star")]
    VaryStar,
    /// More names, or longer values, in `Vary` than are kept.
    #[error("vary-limit")]
    VaryLimit,
    /// Neither an explicit lifetime nor a heuristic one.
    #[error("no-lifetime")]
    NoLifetime,
    /// Stale when it came, without validator or leave to be served stale.
    #[error("never-usable")]
    NeverUsable,
    /// The body is longer than what is stored.
    #[error("too-large")]
    TooLarge,
    /// The `Content-Type` is not what the extension of the path promises.
    #[error("extension")]
    Extension,
    /// More `Connection` options than are read.
    #[error("connection-options")]
    ConnectionOptions,
    /// More or longer tags than are kept: it could not be purged by all of them.
    #[error("tags")]
    Tags,
    /// All bodies that come right now take as much memory as they may.
    #[error("busy")]
    Busy,
}

impl NotStored {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 19] = [
        Self::Method,
        Self::Head,
        Self::Status,
        Self::Partial,
        Self::NoStore,
        Self::RequestNoStore,
        Self::Private,
        Self::Authorization,
        Self::SetCookie,
        Self::Cookie,
        Self::VaryStar,
        Self::VaryLimit,
        Self::NoLifetime,
        Self::NeverUsable,
        Self::TooLarge,
        Self::Extension,
        Self::ConnectionOptions,
        Self::Tags,
        Self::Busy,
    ];
}

/// What is to be kept of the response.
///
/// # Errors
/// [`NotStored`], the first reason of those that hold.
pub fn store(exchange: &Exchange<'_>, policy: &Policy) -> Result<Stored, NotStored> {
    let deciding = Deciding::of(exchange.response, &policy.targets);
    permitted(exchange, &deciding, policy)?;
    let variant = variant(exchange)?;
    let stored = build(exchange, &deciding, variant, policy)?;
    match is_usable(&stored, exchange.responded_at) {
        true => Ok(stored),
        false if stored.source == Source::None && !stored.flags.no_cache => {
            Err(NotStored::NoLifetime)
        }
        false => Err(NotStored::NeverUsable),
    }
}

/// The response as it is kept, whether or not it may be.
pub(super) fn build(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    variant: Option<Variant>,
    policy: &Policy,
) -> Result<Stored, NotStored> {
    let headers = headers::storable(exchange, &deciding.directives, policy)
        .map_err(|TooManyNominees| NotStored::ConnectionOptions)?;
    let date = headers
        .get(DATE)
        .and_then(|value| dates::parse(value.as_bytes(), exchange.responded_at))
        .unwrap_or(exchange.responded_at);
    let lives = freshness::lives(exchange, deciding, date, policy);
    let last_modified = headers
        .get(LAST_MODIFIED)
        .and_then(|value| dates::parse(value.as_bytes(), exchange.responded_at));
    let flags = Flags {
        no_cache: deciding.directives.no_cache,
        never_stale: lives.never_stale,
        immutable: deciding.directives.immutable,
        no_transform: deciding.directives.no_transform,
        has_etag: headers.get(ETAG).is_some_and(etag::is_well_formed),
    };
    let mut stored = Stored {
        status: exchange.status,
        headers,
        variant,
        requested_at: exchange.requested_at,
        responded_at: exchange.responded_at,
        born_at: lives.born_at,
        fresh_until: lives.fresh_until,
        swr_until: lives.swr_until,
        sie_until: lives.sie_until,
        disconnected_until: lives.disconnected_until,
        keep_until: lives
            .swr_until
            .max(lives.sie_until)
            .max(lives.disconnected_until),
        source: lives.source,
        flags,
        last_modified,
        date,
    };
    if stored.has_validator() {
        // What comes stale from another cache is worth validating all the same.
        let stale_from = lives.fresh_until.max(exchange.responded_at);
        stored.keep_until = stored.keep_until.max(stale_from.after(policy.keep));
    }
    Ok(stored)
}

/// Whether it is worth its place: it will answer a request, save a body, or the origin wants it served stale.
fn is_usable(stored: &Stored, now: UnixMs) -> bool {
    let is_fresh = now < stored.fresh_until && !stored.flags.no_cache;
    let may_be_stale = now < stored.swr_until.max(stored.sie_until) && !stored.flags.never_stale;
    let has_lifetime = stored.source != Source::None || stored.flags.no_cache;
    is_fresh || has_lifetime && (may_be_stale || stored.has_validator() && now < stored.keep_until)
}

fn permitted(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    policy: &Policy,
) -> Result<(), NotStored> {
    let directives = &deciding.directives;
    match *exchange.method {
        Method::GET => {}
        Method::HEAD => return Err(NotStored::Head),
        _ => return Err(NotStored::Method),
    }
    match exchange.status.as_u16() {
        206 => return Err(NotStored::Partial),
        ..200 | 304 | 416 => return Err(NotStored::Status),
        _ => {}
    }
    if forbids_storing(directives, exchange.status) {
        return Err(NotStored::NoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    if policy.client_directives && asks_no_store(exchange.request) {
        return Err(NotStored::RequestNoStore);
    }
    permitted_to_share(exchange, deciding, policy)?;
    if policy.check_extension && extension::disagrees(exchange) {
        return Err(NotStored::Extension);
    }
    match headers::content_length(exchange.response) {
        Some(bytes) if bytes > policy.body_bytes_max => Err(NotStored::TooLarge),
        _ => Ok(()),
    }
}

/// What is about credentials and cookies (RFC 9111 sections 3.5 and 7.3).
fn permitted_to_share(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    policy: &Policy,
) -> Result<(), NotStored> {
    let directives = &deciding.directives;
    let is_for_all = directives.public || directives.s_maxage_s.is_some();
    let may_share = is_for_all || directives.must_revalidate;
    if exchange.request.contains_key(AUTHORIZATION) && !may_share {
        return Err(NotStored::Authorization);
    }
    let keeps_cookie = policy.set_cookie == SetCookie::Refuse
        && exchange.response.contains_key(SET_COOKIE)
        && !directives.omitted.contains(&SET_COOKIE);
    if keeps_cookie {
        return Err(NotStored::SetCookie);
    }
    let is_marked = is_for_all || deciding.target.is_some();
    let is_refused = match policy.request_cookie {
        RequestCookie::Ignore => false,
        RequestCookie::StoreIfPublic => !is_marked,
        RequestCookie::Pass => true,
    };
    match is_refused && exchange.request.contains_key(COOKIE) {
        true => Err(NotStored::Cookie),
        false => Ok(()),
    }
}

/// `no-store`, unless `must-understand` lifts it for a status whose rules are known (RFC 9111 section 5.2.2.3).
fn forbids_storing(directives: &Directives, status: StatusCode) -> bool {
    let is_understood = matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 501
    );
    match directives.must_understand {
        true => !is_understood,
        false => directives.no_store,
    }
}

fn asks_no_store(request: &HeaderMap) -> bool {
    directives::members(&request.get_all(CACHE_CONTROL)).any(|member| member.is("no-store"))
}

pub(super) fn variant(exchange: &Exchange<'_>) -> Result<Option<Variant>, NotStored> {
    match VaryBy::of(exchange.response) {
        Ok(by) if by.names().is_empty() => Ok(None),
        Ok(by) => by
            .variant(exchange.request)
            .map(Some)
            .ok_or(NotStored::VaryLimit),
        Err(vary::Refused::Star) => Err(NotStored::VaryStar),
        Err(vary::Refused::Limit) => Err(NotStored::VaryLimit),
    }
}
