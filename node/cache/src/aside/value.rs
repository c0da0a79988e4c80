//! A value as an entry.

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_core::cache::{Flags, Source, Stored, UnixMs};
use weir_core::purge::{Hlc, tag_id};
use weir_core::stored_value::{self, BodyForm};

use crate::blocks::in_blocks;
use crate::entry::{Entry, Resource};
use crate::value::read_fields;

static TAGS: HeaderName = HeaderName::from_static("surrogate-key");

/// A version as text.
pub(super) fn version(at: Hlc) -> String {
    format!("{:x}-{:x}", at.time(), at.node())
}

/// The time that a version, or a lease, says.
pub(super) fn time_of(version: &str) -> Option<Hlc> {
    let (time, node) = version.split_once('-')?;
    let time = u64::from_str_radix(time, 16).ok()?;
    Some(Hlc::from_time(time, u32::from_str_radix(node, 16).ok()?))
}

/// The version of a value.
pub fn version_of(entry: &Entry) -> &str {
    let etag = entry.stored.headers.get(ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    etag.trim_matches('"')
}

/// The tags of a value.
pub fn tags_of(entry: &Entry) -> Vec<String> {
    let tags = entry.stored.headers.get(&TAGS);
    let tags = tags.and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    tags.split(' ')
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The fields of a value.
pub(super) fn fields(version: &str, tags: &[String]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    let etag = HeaderValue::from_str(&format!("\"{version}\"")).ok()?;
    fields.insert(ETAG, etag);
    if !tags.is_empty() {
        fields.insert(TAGS.clone(), HeaderValue::from_str(&tags.join(" ")).ok()?);
    }
    Some(fields)
}

/// What is kept of a value that lives from `put_at` to `ends`.
pub(super) fn stored(headers: HeaderMap, put_at: UnixMs, ends: UnixMs) -> Stored {
    Stored {
        status: StatusCode::OK,
        headers,
        variant: None,
        requested_at: put_at,
        responded_at: put_at,
        born_at: put_at,
        fresh_until: ends,
        swr_until: ends,
        sie_until: ends,
        disconnected_until: ends,
        keep_until: ends,
        source: Source::Rule,
        flags: Flags {
            has_etag: true,
            ..Flags::default()
        },
        last_modified: None,
        date: put_at,
    }
}

/// Its tags as purges name them.
pub(super) fn tag_ids(resource: &Resource, tags: &[String]) -> Box<[u64]> {
    let namespace = resource.key.namespace();
    tags.iter().map(|tag| tag_id(namespace, tag)).collect()
}

/// The value that [`crate::value::encode`] wrote; `None` if it is none.
pub(super) fn decode(bytes: &Bytes, resource: &Resource) -> Option<Entry> {
    let key = crate::value::key_of(resource, None);
    let value = stored_value::decode(bytes, &key).ok()?;
    if value.body_form != BodyForm::Raw {
        return None;
    }
    let headers = read_fields(value.headers)?;
    let times = &value.times;
    let put_at = UnixMs(times.response_unix_ms);
    Some(Entry::new(
        resource.clone(),
        stored(headers, put_at, UnixMs(times.fresh_until_ms)),
        times.fetched_at,
        value.tags.clone().into_boxed_slice(),
        in_blocks(value.body),
    ))
}
