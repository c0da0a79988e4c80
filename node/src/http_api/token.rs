//! Whom the API answers where it has a token: whoever knows it (RFC 6750).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::Response;
use ring::digest::{Digest, SHA256, digest};
use weir_control_plane::governance::secret::Secret;

use super::engines::told;

/// What requests have to carry.
#[derive(Clone)]
pub(super) struct Token(Arc<Digest>);

impl Token {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(Arc::new(hashed(secret.expose())))
    }

    /// Whether a request carries it; `None` when it carries none at all. Digests are compared, so how long that takes
    /// says nothing of the token.
    fn is_in(&self, header: Option<&HeaderValue>) -> Option<bool> {
        let (scheme, given) = header?.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| hashed(given.trim()).as_ref() == (*self.0).as_ref())
    }
}

fn hashed(text: &str) -> Digest {
    digest(&SHA256, text.as_bytes())
}

/// Passes on what carries the token.
pub(super) async fn refuse_strangers(
    State(token): State<Token>,
    request: Request,
    next: Next,
) -> Response {
    let challenge = match token.is_in(request.headers().get(AUTHORIZATION)) {
        Some(true) => return next.run(request).await,
        Some(false) => "Bearer error=\"invalid_token\"",
        None => "Bearer",
    };
    let message = "authorization: every request needs `Bearer` and the token of http_api.token";
    let mut answer = told(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let challenge = HeaderValue::from_static(challenge);
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_after_the_word_bearer_is_one() {
        let token = Token::new(&Secret::new("s3cret"));
        let is_in = |text: &str| token.is_in(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(is_in("Bearer s3cret"), Some(true));
        assert_eq!(is_in("bearer  s3cret"), Some(true));
        for wrong in ["Bearer s3cre", "Bearer s3crett", "Bearer S3CRET", "Bearer "] {
            assert_eq!(is_in(wrong), Some(false), "{wrong}");
        }
        for none in ["s3cret", "Basic s3cret", ""] {
            assert_eq!(is_in(none), None, "{none}");
        }
        assert_eq!(token.is_in(None), None);
    }
}
