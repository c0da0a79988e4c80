//! Stored responses, and requests that meet them.

mod early_refresh;
mod fields;
mod freshness;
mod ranges;
mod reuse;
mod selection;
mod storage;
mod validation;

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Exchange, NotStored, Policy, Stored, UnixMs, http_date, store};

/// When responses come in these tests, at the start of a second.
const CAME: UnixMs = UnixMs(1_790_000_000_000);

fn seconds(seconds: u64) -> UnixMs {
    UnixMs(CAME.0 + seconds * 1_000)
}

/// A date this many seconds after [`CAME`], or before.
fn date(seconds: i64) -> String {
    http_date(UnixMs(CAME.0.saturating_add_signed(seconds * 1_000)))
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

struct Case {
    method: Method,
    path: &'static str,
    status: u16,
    request: HeaderMap,
    response: HeaderMap,
    came: UnixMs,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/",
            status: 200,
            request: HeaderMap::new(),
            response: HeaderMap::new(),
            came: CAME,
        }
    }
}

impl Case {
    fn exchange(&self) -> Exchange<'_> {
        Exchange {
            method: &self.method,
            path_and_query: self.path,
            request: &self.request,
            status: StatusCode::from_u16(self.status).unwrap(),
            response: &self.response,
            requested_at: self.came,
            responded_at: self.came,
        }
    }

    fn store(&self) -> Result<Stored, NotStored> {
        store(&self.exchange(), &Policy::default())
    }
}

/// What becomes of a 200 with these fields.
fn stored_of(response: &[(&'static str, &str)]) -> Result<Stored, NotStored> {
    let response = headers(response);
    Case {
        response,
        ..Case::default()
    }
    .store()
}

fn with_cache_control(value: &str) -> Stored {
    stored_of(&[("cache-control", value), ("etag", "\"a\"")]).unwrap()
}
