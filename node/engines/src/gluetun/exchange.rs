//! One request and its answer.

use std::future::Future;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connect::Connect;
use super::error::Error;

/// Bytes of one answer, without its head.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Bytes that an answer's head may take.
const HEAD_BYTES_MAX: usize = 16 << 10;
const REDIRECTS_MAX: usize = 3;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where it came from, redirects followed.
    pub(super) path: String,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A server and what it is shown.
#[derive(Debug)]
pub(super) struct Server {
    /// `host:port`.
    pub(super) authority: String,
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    pub(super) connect: std::sync::Arc<dyn Connect>,
}

impl Server {
    /// Gets `path`; redirects within this server are followed.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, Error> {
        let mut path = path.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let (reply, location) = self.send(Method::GET, &path, None).await?;
            if !is_redirect(reply.status) {
                return Ok(reply);
            }
            path = self
                .target(location.as_ref())
                .map_err(|why| Error::Redirect { path, why })?;
        }
        let why = "in circles";
        Err(Error::Redirect { path, why })
    }

    /// Puts a JSON text; redirects are not followed.
    pub(super) async fn put(&self, path: &str, json: &'static str) -> Result<Reply, Error> {
        Ok(self.send(Method::PUT, path, Some(json)).await?.0)
    }

    /// Where a redirect leads to, within this server.
    fn target(&self, location: Option<&HeaderValue>) -> Result<String, &'static str> {
        let location = location.ok_or("it does not say where to")?;
        let uri = Uri::try_from(location.as_bytes()).map_err(|_| "to what is no address")?;
        match (uri.scheme_str(), uri.authority()) {
            (None, None) => {}
            (Some("http"), Some(authority)) if self.is_own(authority.as_str()) => {}
            // The credential is for this server alone.
            _ => return Err("to another server"),
        }
        let target = uri.path_and_query().ok_or("to no path")?.as_str();
        match target.starts_with('/') {
            true => Ok(target.to_owned()),
            false => Err("to no path"),
        }
    }

    fn is_own(&self, authority: &str) -> bool {
        authority.eq_ignore_ascii_case(&self.authority)
            || self
                .authority
                .strip_suffix(":80")
                .is_some_and(|host| authority.eq_ignore_ascii_case(host))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        json: Option<&'static str>,
    ) -> Result<(Reply, Option<HeaderValue>), Error> {
        let request = self.request(method, path, json)?;
        let stream = self
            .connect
            .connect(&self.authority)
            .await
            .map_err(|source| Error::Connect {
                server: self.authority.clone(),
                source,
            })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.broken(source))?;
        let answer = async move {
            let response = sender
                .send_request(request)
                .await
                .map_err(|source| self.broken(source))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| self.body_error(path, error))?
                .to_bytes();
            let reply = Reply {
                path: path.to_owned(),
                status: head.status,
                body,
            };
            Ok((reply, head.headers.get(LOCATION).cloned()))
        };
        drive(connection, answer).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        json: Option<&'static str>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, "weir")
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close");
        if json.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = &self.credential {
            builder = builder.header(name, value);
        }
        let body = Full::new(Bytes::from_static(json.unwrap_or_default().as_bytes()));
        builder.body(body).map_err(|_| Error::Redirect {
            path: path.to_owned(),
            why: "to no path",
        })
    }

    fn broken(&self, source: hyper::Error) -> Error {
        Error::Broken {
            server: self.authority.clone(),
            source,
        }
    }

    fn body_error(&self, path: &str, error: Box<dyn std::error::Error + Send + Sync>) -> Error {
        match error.downcast::<hyper::Error>() {
            Ok(source) => self.broken(*source),
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>());
                Error::TooLarge {
                    path: path.to_owned(),
                    limit: BODY_BYTES_MAX,
                }
            }
        }
    }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Drives a connection only as long as it takes to get the answer.
async fn drive<C, A>(connection: C, answer: A) -> A::Output
where
    C: Future,
    A: Future,
{
    match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // It closed once everything had come.
        Either::Right((_, answer)) => answer.await,
    }
}
