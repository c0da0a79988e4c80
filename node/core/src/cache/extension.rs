//! Paths that promise another type of content than they bring.

use http::header::CONTENT_TYPE;

use super::stored::Exchange;

/// Extensions of static files, and how the types of what they name begin.
const PROMISES: [(&[&str], &[&str]); 8] = [
    (&["css"], &["text/css"]),
    (
        &["js", "mjs"],
        &[
            "text/javascript",
            "application/javascript",
            "application/x-javascript",
        ],
    ),
    (
        &[
            "avif", "bmp", "gif", "ico", "jpeg", "jpg", "png", "svg", "webp",
        ],
        &["image/"],
    ),
    (
        &["eot", "otf", "ttf", "woff", "woff2"],
        &[
            "font/",
            "application/font",
            "application/x-font",
            "application/vnd.ms-fontobject",
        ],
    ),
    (&["mp3", "ogg", "wav"], &["audio/"]),
    (&["mp4", "webm"], &["video/"]),
    (&["pdf"], &["application/pdf"]),
    (
        &["json", "map"],
        &["application/json", "application/manifest+json"],
    ),
];
/// Says nothing about what the content is.
const NEUTRAL: &str = "application/octet-stream";

/// Whether the path ends like that of a static file and the content is of another type.
pub(super) fn disagrees(exchange: &Exchange<'_>) -> bool {
    let path = exchange
        .path_and_query
        .split('?')
        .next()
        .unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let promise = PROMISES.iter().find(|(extensions, _)| {
        extensions
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    let Some((_, types)) = promise else {
        return false;
    };
    let found = exchange
        .response
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let begins = |known: &str| {
        found
            .get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
    };
    !types.iter().any(|known| begins(known)) && !begins(NEUTRAL)
}
