//! A bare HTTP/2 client, which may say what a proper library would not.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{PATIENCE, Weir};

/// So much that a stream that is not read does not use it up.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// What HTTP/2 gives a stream that says nothing of it.
const STREAM_WINDOW_BYTES: u32 = 65_535;

/// A connection to the ingress.
pub struct Http2 {
    sender: SendRequest<Bytes>,
}

impl Http2 {
    pub async fn connect(weir: &Weir) -> Self {
        Self::connect_taking(weir, STREAM_WINDOW_BYTES).await
    }

    /// A connection whose streams take so many bytes before the test takes any.
    pub async fn connect_taking(weir: &Weir, stream_window_bytes: u32) -> Self {
        let stream = TcpStream::connect(weir.ingress).await.unwrap();
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(stream_window_bytes)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a head; the body follows on the stream unless `end`.
    pub async fn send(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(request, end).unwrap()
    }

    /// Why the node takes no more requests on this connection, if it said so.
    pub async fn goodbye(&self) -> Option<h2::Error> {
        let ready = timeout(PATIENCE, self.sender.clone().ready()).await;
        ready.expect("it is ready or told to go").err()
    }

    /// Sends a request without a body and reads the whole answer.
    pub async fn get(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let (response, _) = self.send(request, true).await;
        whole(response).await
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// A header as text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.head
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A head to `http://test` with further header lines.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Reads an answer to its end.
pub async fn whole(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let reading = async {
        let (head, mut stream) = response.await?.into_parts();
        let body = body_of(&mut stream).await?;
        let trailers = stream.trailers().await?;
        Ok(Answer {
            head: Response::from_parts(head, ()),
            body,
            trailers,
        })
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the answer does not end")
}

/// Reads what is left of a body.
pub async fn body_of(stream: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut body = Vec::new();
    while let Some(part) = timeout(PATIENCE, stream.data())
        .await
        .expect("the body rests")
    {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    Ok(body.into())
}
