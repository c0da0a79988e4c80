//! Answers in the coding that the client wants.

mod kept;
mod passing;

use std::io::Read;

use tokio::time::Instant;

use crate::cache::origin::{Asked, Origin};
use crate::client::{Answer, Client};
use crate::common::{PATIENCE, Weir};

/// What a client decodes of what it has so far.
fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn Read> = match coding {
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "zstd" => Box::new(ruzstd::decoding::StreamingDecoder::new(bytes).unwrap()),
        _ => Box::new(bytes),
    };
    let (mut text, mut room) = (Vec::new(), [0; 4096]);
    while let Ok(bytes @ 1..) = decoder.read(&mut room) {
        text.extend_from_slice(&room[..bytes]);
    }
    text
}

/// The text of an answer, and its coding.
fn read(answer: &Answer) -> (Option<&str>, String) {
    let coding = answer.header("content-encoding");
    let text = decoded(coding.unwrap_or("identity"), &answer.body);
    (coding, String::from_utf8(text).unwrap())
}

fn text(bytes: usize) -> String {
    let lines = (0..).map(|number| format!("<li class=\"item\">{}</li>\n", number % 97));
    let mut text: String = lines.take(bytes / 20).collect();
    text.truncate(bytes);
    text
}

/// A node with one route that compresses; `route` are further keys of it, `ingress` of `[ingress]`.
async fn compressing(origin: &Origin, route: &str, ingress: &str) -> Weir {
    let address = origin.address;
    let config = format!(
        "[services.web]\nbackends = [\"{address}\"]\n[[routes]]\nservice = \"web\"\n\
         compress = true\n{route}\n"
    );
    Weir::start_with(ingress, &config).await
}

const ALL: &str = "compression = [\"br\", \"gzip\", \"zstd\"]";

/// An origin of one text.
async fn origin_of(fields: &'static str, body: String) -> Origin {
    Origin::start(move |mut asked: Asked| {
        let body = body.clone();
        async move {
            let body = if asked.head.starts_with("HEAD") {
                ""
            } else {
                &body
            };
            asked.answer("200 OK", fields, body).await;
            asked
        }
    })
    .await
}

/// A GET with these fields (each with its line end).
async fn get(client: &mut Client, path: &str, fields: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    client.ask(&request).await.unwrap()
}

/// The first answer in this coding, which another configuration makes come.
async fn comes_in(client: &mut Client, fields: &str, coding: Option<&str>) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(client, "/", fields).await;
        if answer.header("content-encoding") == coding {
            return answer;
        }
        assert!(Instant::now() < deadline, "{coding:?}: {}", answer.head);
    }
}
