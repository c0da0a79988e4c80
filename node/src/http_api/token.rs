//! Whom the API answers where it has a token: whoever knows it. Programs send it as such (RFC 6750), browsers as the
//! password of any user (RFC 7617): they ask their users for that by themselves.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use weir_control_plane::governance::secret::Secret;

use super::engines::told;
use crate::token_digest::TokenDigest;

/// What requests have to carry.
#[derive(Clone)]
pub(super) struct Token(TokenDigest);

impl Token {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(TokenDigest::of(secret.expose()))
    }

    /// Whether a request carries it; `None` when it carries none at all.
    fn is_in(&self, header: Option<&HeaderValue>) -> Option<bool> {
        let (scheme, given) = header?.to_str().ok()?.split_once(' ')?;
        let token = match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => given.trim().to_owned(),
            _ if scheme.eq_ignore_ascii_case("basic") => password(given.trim())?,
            _ => return None,
        };
        Some(self.0.is_of(&token))
    }
}

/// What follows the name of a user.
fn password(credentials: &str) -> Option<String> {
    let credentials = BASE64_STANDARD.decode(credentials).ok()?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (_, password) = credentials.split_once(':')?;
    Some(password.to_owned())
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
    for challenge in [challenge, "Basic realm=\"weir\", charset=\"UTF-8\""] {
        let challenge = HeaderValue::from_static(challenge);
        answer.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_after_the_word_bearer_or_as_a_password_is_one() {
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
        let basic = |text: &str| is_in(&format!("Basic {}", BASE64_STANDARD.encode(text)));
        assert_eq!(basic("anybody:s3cret"), Some(true));
        assert_eq!(basic(":s3cret"), Some(true));
        assert_eq!(basic("s3cret:"), Some(false));
        assert_eq!(basic("s3cret"), None);
    }
}
