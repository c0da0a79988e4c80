//! CDNs that are told of purges.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::common::{PATIENCE, Weir, scripted_backend};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const TAGS: usize = 1_000;

/// One request to a CDN.
#[derive(Clone, Debug)]
struct Request {
    first: String,
    head: String,
    body: String,
}

/// The API of a CDN, as far as purges need it.
struct Cdn {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Cdn {
    /// One that answers the request of each number with `status`.
    async fn start(status: fn(usize) -> &'static str) -> Self {
        Self::serving(move |number, _: &Request| status(number)).await
    }

    /// One that looks at what it is asked.
    async fn choosy(status: fn(&Request) -> &'static str) -> Self {
        Self::serving(move |_, request: &Request| status(request)).await
    }

    async fn serving<F>(status: F) -> Self
    where
        F: Fn(usize, &Request) -> &'static str + Copy + Send + Sync + 'static,
    {
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let told = Arc::clone(&asked);
        let address =
            scripted_backend(move |stream| serve(stream, Arc::clone(&told), status)).await;
        Self { address, asked }
    }

    async fn asked(&self, count: usize) -> Vec<Request> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = self.asked.lock().await.clone();
            if asked.len() >= count {
                return asked;
            }
            assert!(Instant::now() < deadline, "{asked:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Its certificate, and a listener behind which it shows that.
async fn over_tls(asked: Arc<Mutex<Vec<Request>>>) -> (String, SocketAddr) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = scripted_backend(move |stream| {
        let (acceptor, asked) = (acceptor.clone(), Arc::clone(&asked));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, asked, |_, _| "200 OK").await;
            }
        }
    });
    (own.cert.pem(), address.await)
}

#[tokio::test]
async fn a_cdn_is_told_over_tls_if_its_certificate_is_trusted() {
    let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (certificate, address) = over_tls(Arc::clone(&asked)).await;
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (
        folder.path().join("own.pem"),
        folder.path().join("other.pem"),
    );
    std::fs::write(&own, certificate).unwrap();
    std::fs::write(&other, over_tls(Arc::default()).await.0).unwrap();
    let port = address.port();
    let weir = node(&format!(
        "[cdns.a]\nkind = \"purge\"\nurl = \"https://localhost:{port}\"\nca_file = \"{}\"\n\
         [cdns.b]\nkind = \"purge\"\nurl = \"https://localhost:{port}\"\nca_file = \"{}\"\n",
        own.display(),
        other.display()
    ))
    .await;
    purge(&weir, &json!({"url": "http://www.example.com/a"})).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cdns = standing(&weir).await;
        let problem = cdns[1]["problem"].as_str().unwrap();
        if cdns[0]["told"] == 1 && problem.contains("invalid peer certificate") {
            break;
        }
        assert!(Instant::now() < deadline, "{cdns}");
        sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(asked.lock().await.len(), 1);
}

async fn serve<S>(
    stream: S,
    asked: Arc<Mutex<Vec<Request>>>,
    status: impl Fn(usize, &Request) -> &'static str,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let (mut first, mut head, mut length) = (String::new(), String::new(), 0);
    if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let request = Request {
        first: first.trim().to_owned(),
        head,
        body: String::from_utf8(body).unwrap(),
    };
    let number = {
        let mut asked = asked.lock().await;
        asked.push(request.clone());
        asked.len()
    };
    let answer = format!(
        "HTTP/1.1 {}\r\ncontent-length: 0\r\n\r\n",
        status(number, &request)
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn node(cdns: &str) -> Weir {
    let config = format!(
        "{cdns}\n[services.web]\nbackends = [\"127.0.0.1:1\"]\n\
         [[routes]]\nname = \"blog\"\nservice = \"web\"\ncache = true\n"
    );
    Weir::start(&config).await
}

async fn purge(weir: &Weir, what: &Value) {
    assert_eq!(
        weir.post_api("/api/cache/purge", &what.to_string()).await,
        200
    );
}

async fn standing(weir: &Weir) -> Value {
    let (_, document) = weir.get_api("/api/cache").await.unwrap();
    serde_json::from_str::<Value>(&document).unwrap()["cdns"].clone()
}

#[tokio::test]
async fn each_cdn_is_told_in_its_own_words() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "se-cret\n").unwrap();
    let token = token.path().display();
    let (cloudflare, fastly, purged) = (
        Cdn::start(|_| "200 OK").await,
        Cdn::start(|_| "200 OK").await,
        Cdn::start(|_| "200 OK").await,
    );
    let weir = node(&format!(
        "[cdns.a]\nkind = \"cloudflare\"\nzone = \"z1\"\nurl = \"http://{}/client/v4\"\ntoken = \"file:{token}\"\n\
         [cdns.b]\nkind = \"fastly\"\nservice = \"s1\"\nurl = \"http://{}\"\ntoken = \"file:{token}\"\n\
         [cdns.c]\nkind = \"purge\"\nurl = \"http://{}\"\n\
         [cdns.d]\nkind = \"purge\"\nurl = \"http://127.0.0.1:1\"\nnamespaces = [\"other\"]\n",
        cloudflare.address, fastly.address, purged.address
    ))
    .await;
    purge(
        &weir,
        &json!({"tag": "article-7", "soft": true, "namespace": "blog"}),
    )
    .await;
    let asked = &cloudflare.asked(1).await[0];
    assert_eq!(asked.first, "POST /client/v4/zones/z1/purge_cache HTTP/1.1");
    assert_eq!(asked.body, r#"{"tags":["article-7"]}"#);
    assert!(
        asked.head.contains("authorization: Bearer se-cret\r\n"),
        "{asked:?}"
    );
    let asked = &fastly.asked(1).await[0];
    assert_eq!(asked.first, "POST /service/s1/purge HTTP/1.1");
    assert!(asked.head.contains("fastly-key: se-cret\r\n"), "{asked:?}");
    assert!(asked.head.contains("fastly-soft-purge: 1\r\n"), "{asked:?}");
    purge(
        &weir,
        &json!({"url": "http://www.example.com/a?b", "namespace": "blog"}),
    )
    .await;
    let asked = &purged.asked(1).await[0];
    assert_eq!(asked.first, "PURGE /a?b HTTP/1.1");
    assert!(
        asked.head.contains("host: www.example.com\r\n"),
        "{asked:?}"
    );
    let cdns = standing(&weir).await;
    // The one that knows no tags says so; the one of another namespace was told nothing.
    assert_eq!(cdns[2]["refused"], 1, "{cdns}");
    assert_eq!(cdns[3]["waiting"], 0, "{cdns}");
    assert!(!weir.log().contains("se-cret"));
}

#[tokio::test]
async fn a_slow_cdn_hears_of_every_purge_though_the_node_is_killed() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "t").unwrap();
    // Every third request is too much for it.
    let cdn = Cdn::start(|number| match number % 3 {
        0 => "429 Too Many Requests\r\nretry-after: 0",
        _ => "200 OK",
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut weir = node(&format!(
        "[node]\ndata_dir = \"{}\"\n[cdns.front]\nkind = \"cloudflare\"\nzone = \"z1\"\n\
         url = \"http://{}\"\ntoken = \"file:{}\"\nrequests_per_minute = 1200\n",
        folder.path().display(),
        cdn.address,
        token.path().display()
    ))
    .await;
    let purges = stream::iter(0..TAGS).map(|number| {
        let weir = &weir;
        async move { purge(weir, &json!({"tag": format!("t{number}")})).await }
    });
    purges.buffer_unordered(32).collect::<Vec<()>>().await;
    cdn.asked(2).await;
    weir.crash().await;
    weir.start_again().await;
    let deadline = Instant::now() + PATIENCE;
    while standing(&weir).await[0]["waiting"] != 0 {
        assert!(Instant::now() < deadline, "{}", standing(&weir).await);
        sleep(LOOK_INTERVAL).await;
    }
    let mut heard = BTreeSet::new();
    for (at, asked) in cdn.asked(TAGS / 100).await.iter().enumerate() {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let tags = body["tags"].as_array().unwrap();
        assert!(tags.len() <= 100);
        if (at + 1) % 3 != 0 {
            heard.extend(tags.iter().map(|tag| tag.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(heard.len(), TAGS);
}

#[tokio::test]
async fn one_purge_that_a_cdn_refuses_costs_no_other_one() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "t").unwrap();
    let cdn = Cdn::choosy(|request| match request.body.contains("bad") {
        true => "400 Bad Request",
        false => "200 OK",
    })
    .await;
    let weir = node(&format!(
        "[cdns.front]\nkind = \"cloudflare\"\nzone = \"z1\"\nurl = \"http://{}\"\ntoken = \"file:{}\"\n\
         requests_per_minute = 6000\n",
        cdn.address,
        token.path().display()
    ))
    .await;
    let purges = ["good-1", "bad", "good-2"].map(|tag| json!({ "tag": tag }));
    futures::future::join_all(purges.iter().map(|what| purge(&weir, what))).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cdns = standing(&weir).await;
        if cdns[0]["waiting"] == 0 {
            assert_eq!(
                (&cdns[0]["told"], &cdns[0]["refused"]),
                (&json!(2), &json!(1))
            );
            break;
        }
        assert!(Instant::now() < deadline, "{cdns}");
        sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test]
async fn a_cdn_that_comes_back_into_the_file_hears_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let cdn = Cdn::start(|_| "200 OK").await;
    let section = |url: &str| format!("[cdns.front]\nkind = \"purge\"\nurl = \"http://{url}\"\n");
    let file = |cdns: &str| {
        format!(
            "[node]\ndata_dir = \"{}\"\n{cdns}\n[services.web]\nbackends = [\"127.0.0.1:1\"]\n\
             [[routes]]\nname = \"blog\"\nservice = \"web\"\ncache = true\n",
            folder.path().display()
        )
    };
    let mut weir = Weir::start(&file(&section("127.0.0.1:1"))).await;
    purge(&weir, &json!({"url": "http://www.example.com/first"})).await;
    weir.edit(&file(""));
    weir.wait_for_metric("weir_cache_cdn_purges_waiting", |waiting| waiting == 0.0)
        .await;
    weir.crash().await;
    weir.start_again().await;
    weir.edit(&file(&section(&cdn.address.to_string())));
    let asked = &cdn.asked(1).await[0];
    assert_eq!(asked.first, "PURGE /first HTTP/1.1");
    purge(&weir, &json!({"url": "http://www.example.com/second"})).await;
    assert_eq!(cdn.asked(2).await[1].first, "PURGE /second HTTP/1.1");
}

#[tokio::test]
async fn a_cdn_that_is_away_keeps_nobody_waiting_and_says_why() {
    let weir = node("[cdns.front]\nkind = \"purge\"\nurl = \"http://127.0.0.1:1\"\n").await;
    let begun = Instant::now();
    purge(&weir, &json!({"url": "http://www.example.com/a"})).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cdns = standing(&weir).await;
        if cdns[0]["problem"].as_str().unwrap().contains("connecting") {
            assert_eq!(cdns[0]["waiting"], 1);
            break;
        }
        assert!(Instant::now() < deadline, "{cdns}");
        sleep(LOOK_INTERVAL).await;
    }
    weir.wait_for_metric("weir_cache_cdn_failures_total{cdn=\"front\"}", |failures| {
        failures >= 1.0
    })
    .await;
}
