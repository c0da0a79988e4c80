//! An origin on a thread of its own that counts what it is asked.
//!
//! `/private/...` is for one client alone, everything else may be kept for ten minutes. `/slow/...` and `/private/...`
//! take [`DELAY`]. `/bytes/N/...` has a body of N bytes, everything else one of 1 KiB. `/tag/T/...` has the tag T.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long a slow answer takes.
pub(super) const DELAY: Duration = Duration::from_millis(200);
const BODY_BYTES: usize = 1 << 10;
const BODY_BYTES_MAX: usize = 4 << 20;

/// The origin; it ends with this.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    asked: Arc<AtomicU64>,
    _end: oneshot::Sender<()>,
}

impl Origin {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is not simulated")]
    pub(super) async fn start() -> Result<Self, String> {
        let (end, ended) = oneshot::channel::<()>();
        let (told, address) = oneshot::channel();
        let asked = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&asked);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let _ = told.send(listener.local_addr().expect("an address"));
                tokio::select! {
                    () = accept(listener, counts) => {}
                    _ = ended => {}
                }
            });
        });
        let address = address.await.map_err(|_| "the origin did not start")?;
        Ok(Self {
            address,
            asked,
            _end: end,
        })
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, asked: Arc<AtomicU64>) {
    let body: Arc<[u8]> = vec![b'w'; BODY_BYTES_MAX].into();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&asked), Arc::clone(&body)));
    }
}

async fn serve(stream: TcpStream, asked: Arc<AtomicU64>, body: Arc<[u8]>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            line.clear();
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let (kind, value) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if matches!(kind, "slow" | "private") {
            sleep(DELAY).await;
        }
        let bytes = match kind {
            "bytes" => value.parse().unwrap_or(BODY_BYTES).min(BODY_BYTES_MAX),
            _ => BODY_BYTES,
        };
        let for_whom = if kind == "private" {
            "private"
        } else {
            "max-age=600"
        };
        let tag = if kind == "tag" {
            format!("surrogate-key: {value}\r\n")
        } else {
            String::new()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncache-control: {for_whom}\r\n{tag}content-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..bytes]).await?;
        stream.flush().await?;
    }
}
