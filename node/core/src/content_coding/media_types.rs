//! Lists of media types.

use std::str::FromStr;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use thiserror::Error;

/// Media types of text, as they are compressed by default.
pub const DEFAULT_TYPES: [&str; 18] = [
    "text/*",
    "+json",
    "+xml",
    "+text",
    "application/json",
    "application/ndjson",
    "application/x-ndjson",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/wasm",
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "application/x-font-ttf",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
];

/// What is no media type that can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is no media type: expected one such as text/html, text/* or +json")]
pub struct BadMediaType;

/// A listed media type, in lower case: `text/html`, `text/*`, or `+json` for any that ends so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType(Box<str>);

impl FromStr for MediaType {
    type Err = BadMediaType;

    fn from_str(text: &str) -> Result<Self, BadMediaType> {
        let is_token = |part: &str| {
            let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
            !part.is_empty() && part.bytes().all(is_in)
        };
        let is_sound = match (text.strip_prefix('+'), text.split_once('/')) {
            (Some(suffix), None) => is_token(suffix),
            (None, Some((family, "*"))) => is_token(family),
            (None, Some((family, subtype))) => is_token(family) && is_token(subtype),
            _ => false,
        };
        match is_sound {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err(BadMediaType),
        }
    }
}

impl MediaType {
    fn names(&self, media_type: &str) -> bool {
        if let Some(family) = self.0.strip_suffix('*') {
            return media_type.starts_with(family);
        }
        match self.0.starts_with('+') {
            true => media_type.ends_with(&*self.0),
            false => media_type == &*self.0,
        }
    }
}

/// Media types; by default [`DEFAULT_TYPES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes(Box<[MediaType]>);

impl Default for MediaTypes {
    fn default() -> Self {
        Self::new(DEFAULT_TYPES.map(|name| MediaType(name.into())).into())
    }
}

impl MediaTypes {
    /// These.
    pub fn new(types: Vec<MediaType>) -> Self {
        Self(types.into())
    }

    /// Whether the `Content-Type` of a response is among them. `text/event-stream` never is: events are to arrive as
    /// they are sent.
    pub fn contain(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let Some(value) = value else {
            return false;
        };
        let media_type = value.split(';').next().unwrap_or(value).trim();
        let media_type = media_type.to_ascii_lowercase();
        media_type != "text/event-stream" && self.0.iter().any(|listed| listed.names(&media_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_type_is_one_a_family_or_an_ending() {
        for text in ["text/html", "Text/*", "+json", "application/vnd.api+json"] {
            text.parse::<MediaType>().unwrap();
        }
        for text in [
            "",
            "text",
            "*/*",
            "*",
            "+",
            "text/",
            "/html",
            "text/html;q=1",
            "a b/c",
        ] {
            assert_eq!(text.parse::<MediaType>(), Err(BadMediaType), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_such_as_can_be_listed() {
        for name in DEFAULT_TYPES {
            name.parse::<MediaType>().unwrap();
        }
    }
}
