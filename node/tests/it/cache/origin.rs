//! An origin that counts what it is asked and answers as its script says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::common::scripted_backend;
use crate::recorder::read_head;

pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    released: Arc<Semaphore>,
}

/// One request at the origin.
pub struct Asked {
    pub head: String,
    /// From 1.
    pub number: usize,
    pub stream: TcpStream,
    released: Arc<Semaphore>,
}

impl Asked {
    pub async fn say(&mut self, text: &str) {
        // A node that has seen enough hangs up.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// An answer with these fields (each with its line end).
    pub async fn answer(&mut self, status: &str, fields: &str, body: &str) {
        let length = body.len();
        self.say(&format!(
            "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Waits for [`Origin::release`], once for each call.
    pub async fn wait(&self) {
        self.released.acquire().await.unwrap().forget();
    }
}

impl Origin {
    pub async fn start<F>(script: impl Fn(Asked) -> F + Send + Sync + Clone + 'static) -> Self
    where
        F: Future<Output = Asked> + Send + 'static,
    {
        let (asked, released) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, gate) = (Arc::clone(&asked), Arc::clone(&released));
        let address = scripted_backend(move |mut stream| {
            let (script, count, released) = (script.clone(), Arc::clone(&count), Arc::clone(&gate));
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    let released = Arc::clone(&released);
                    let asked = Asked {
                        head,
                        number,
                        stream,
                        released,
                    };
                    stream = script(asked).await.stream;
                }
            }
        })
        .await;
        Self {
            address,
            asked,
            released,
        }
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets `count` of those who wait go on.
    pub fn release(&self, count: usize) {
        self.released.add_permits(count);
    }

    /// Takes one back that nobody waited for.
    pub fn take_back(&self) -> bool {
        self.released
            .try_acquire()
            .map(|permit| permit.forget())
            .is_ok()
    }

    /// Waits until it was asked so often.
    pub async fn asked_at_least(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
        while self.asked() < count {
            assert!(
                tokio::time::Instant::now() < deadline,
                "asked {} times",
                self.asked()
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
