//! The dashboard: a page that draws what `/api/overview` tells. It is part of the binary and asks nobody else.
//!
//! Every string that it shows is somebody else's, so the page is built from text only, and the policy that goes with
//! it lets a browser run, load and ask nothing but what is of this site.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::Shown;

/// What a browser may do for the page: nothing in it is inline, nothing is from elsewhere, nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($path:literal = $file:literal, $content_type:ident;)*) => {
        [$(Asset { path: $path, content_type: $content_type, text: include_str!($file) },)*]
    };
}

const ASSETS: [Asset; 11] = assets! {
    "/dashboard" = "index.html", HTML;
    "/dashboard/app.css" = "app.css", CSS;
    "/dashboard/app.js" = "app.js", JAVASCRIPT;
    "/dashboard/dom.js" = "dom.js", JAVASCRIPT;
    "/dashboard/format.js" = "format.js", JAVASCRIPT;
    "/dashboard/health.js" = "health.js", JAVASCRIPT;
    "/dashboard/history.js" = "history.js", JAVASCRIPT;
    "/dashboard/plot.js" = "plot.js", JAVASCRIPT;
    "/dashboard/plots.js" = "plots.js", JAVASCRIPT;
    "/dashboard/poll.js" = "poll.js", JAVASCRIPT;
    "/dashboard/sections.js" = "sections.js", JAVASCRIPT;
};

/// The page and what it is made of.
pub(super) fn router() -> Router<Shown> {
    // Both lead to the page also where a proxy has the API under a path of its own.
    let beside = get(|| async { Redirect::permanent("../dashboard") });
    let below = get(|| async { Redirect::temporary("dashboard") });
    let router = Router::new().route("/", below).route("/dashboard/", beside);
    ASSETS.into_iter().fold(router, |router, asset| {
        let etag = etag(asset.text);
        let answer = move |headers: HeaderMap| async move { asset.answer(&headers, &etag) };
        router.route(asset.path, get(answer))
    })
}

impl Asset {
    fn answer(&self, headers: &HeaderMap, etag: &str) -> Response {
        let common = [
            (ETAG, etag),
            // A node of another version may answer the next time.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        let known = headers
            .get(IF_NONE_MATCH)
            .and_then(|tags| tags.to_str().ok());
        if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(CONTENT_TYPE, self.content_type)], self.text).into_response()
    }
}

fn etag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let asset = &ASSETS[0];
        let etag = etag(asset.text);
        let mut headers = HeaderMap::new();
        let first = asset.answer(&headers, &etag);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[CONTENT_TYPE], HTML);
        headers.insert(IF_NONE_MATCH, format!("\"other\", {etag}").parse().unwrap());
        let again = asset.answer(&headers, &etag);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[ETAG], etag.as_str());
    }

    #[test]
    fn the_page_is_made_of_text_and_names_nobody_else() {
        for asset in ASSETS {
            let code = asset.text.replace("http://www.w3.org/2000/svg", "");
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                " style=\"",
                "http://",
                "https://",
            ] {
                assert!(!code.contains(banned), "{}: {banned}", asset.path);
            }
            assert!(asset.text.lines().count() < 300, "{}", asset.path);
        }
    }

    #[test]
    fn what_the_page_loads_is_served() {
        for asset in ASSETS {
            let loaded = asset.text.split(['"', '\'']);
            for path in loaded.filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
                let name = path.rsplit('/').next().unwrap();
                let served = format!("/dashboard/{name}");
                assert!(ASSETS.iter().any(|asset| asset.path == served), "{path}");
            }
        }
    }
}
