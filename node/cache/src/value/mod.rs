//! Entries as bytes, for tiers outside of the process.
//!
//! What is read is judged again by the rules of the route that reads it, as if the origin had just said it and it had
//! aged on the way: a value that today's rules would not store is none.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_core::cache::{self, Exchange, Policy, UnixMs, VaryBy};
use weir_core::stored_value::{self, BodyForm, StoredValue, Times};

use crate::blocks::in_blocks;
use crate::entry::{Entry, Resource};

/// What bytes of another tier are.
#[derive(Debug)]
pub enum Value {
    /// A response for the request that was made.
    Entry(Arc<Entry>),
    /// Responses depend on what these fields of the request hold, so that is part of the key.
    DependsOn(VaryBy),
    /// Nothing that can be used, and why.
    Unusable(String),
}

/// Where the response to a request of this key is kept, for what the fields that it depends on hold.
pub fn key_of(resource: &Resource, variant: Option<&[u8]>) -> Vec<u8> {
    let mut key = resource.key.as_str().as_bytes().to_vec();
    if let Some(variant) = variant {
        key.push(0);
        key.extend_from_slice(variant);
    }
    key
}

/// An entry with its key; `None` if it is too large.
pub fn encode(entry: &Entry) -> Option<(Vec<u8>, Bytes)> {
    let variant = entry.stored.variant.as_ref().map(|variant| variant.key());
    let key = key_of(&entry.resource, variant);
    let body = entry.body.concat();
    let stored = &entry.stored;
    let value = StoredValue {
        key: &key,
        status: stored.status.as_u16(),
        times: Times {
            fetched_at: entry.fetched_at,
            response_unix_ms: stored.responded_at.0,
            initial_age_ms: stored
                .responded_at
                .since(stored.born_at)
                .as_millis()
                .try_into()
                .ok()?,
            fetch_cost_ms: u32::try_from(stored.fetch_ms()).unwrap_or(u32::MAX),
            fresh_until_ms: stored.fresh_until.0,
            revalidate_until_ms: stored.swr_until.0,
            error_until_ms: stored.sie_until.0,
            keep_until_ms: stored.keep_until.0,
        },
        tags: entry.tags.to_vec(),
        headers: &write_fields(&stored.headers),
        body_form: BodyForm::Raw,
        body_bytes: entry.body_bytes,
        body: &body,
    };
    let bytes = stored_value::encode(&value).ok()?;
    Some((key, Bytes::from(bytes)))
}

/// What stands at the key of a resource whose responses depend on fields of the request: which ones.
pub fn encode_dependence(entry: &Entry) -> Option<(Vec<u8>, Bytes)> {
    let names = entry.stored.variant.as_ref()?.by().names();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    let fields = format!("{VARY}: {}\n", names.join(","));
    let key = key_of(&entry.resource, None);
    let value = StoredValue {
        key: &key,
        status: StatusCode::NO_CONTENT.as_u16(),
        times: Times {
            fetched_at: entry.fetched_at,
            ..Times::default()
        },
        tags: Vec::new(),
        headers: fields.as_bytes(),
        body_form: BodyForm::Raw,
        body_bytes: 0,
        body: &[],
    };
    let bytes = stored_value::encode(&value).ok()?;
    Some((key, Bytes::from(bytes)))
}

/// What the bytes are that were found at `key`; `has_variant`: as the response for what the fields of `request` hold.
pub fn decode(
    bytes: &Bytes,
    key: &[u8],
    has_variant: bool,
    resource: &Resource,
    request: &HeaderMap,
    policy: &Policy,
) -> Value {
    let value = match stored_value::decode(bytes, key) {
        Ok(value) => value,
        Err(corrupt) => return Value::Unusable(corrupt.to_string()),
    };
    let Some(mut headers) = read_fields(value.headers) else {
        return Value::Unusable("no fields".to_owned());
    };
    let is_dependence =
        value.status == StatusCode::NO_CONTENT.as_u16() && value.times.keep_until_ms == 0;
    if is_dependence && !has_variant {
        let names = headers
            .get_all(VARY)
            .iter()
            .filter_map(|line| line.to_str().ok());
        let names = names
            .flat_map(|line| line.split(','))
            .filter_map(|name| name.parse().ok());
        let by = VaryBy::from_names(names.collect());
        return by.map_or_else(
            || Value::Unusable("too many fields".to_owned()),
            Value::DependsOn,
        );
    }
    let times = &value.times;
    headers.insert(AGE, HeaderValue::from(times.initial_age_ms.div_ceil(1_000)));
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: resource.path(),
        request,
        status: StatusCode::from_u16(value.status).unwrap_or(StatusCode::BAD_GATEWAY),
        response: &headers,
        requested_at: UnixMs(
            times
                .response_unix_ms
                .saturating_sub(u64::from(times.fetch_cost_ms)),
        ),
        responded_at: UnixMs(times.response_unix_ms),
    };
    match cache::store(&exchange, policy) {
        Ok(stored) if value.body_form == BodyForm::Raw => {
            let tags = value.tags.into_boxed_slice();
            Value::Entry(Arc::new(Entry::new(
                resource.clone(),
                stored,
                times.fetched_at,
                tags,
                in_blocks(value.body),
            )))
        }
        Ok(_) => Value::Unusable("compressed".to_owned()),
        Err(why) => Value::Unusable(why.to_string()),
    }
}

/// `name: value` lines; values hold no line feed.
fn write_fields(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text
}

pub(crate) fn read_fields(text: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line.get(colon + 2..)?).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests;
