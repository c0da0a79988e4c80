//! What a user sees in a browser: Chromium without a window, steered by its DevTools protocol.

mod dashboard;
mod hostile;
mod messages;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::common::PATIENCE;

/// Nothing of these looks for hosts beyond this machine.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "about:blank",
];

/// Whether the dashboard comes to show what a node tells.
const IS_LIVE: &str = "new Promise((done) => {
    const look = () => {
        if (document.documentElement.dataset.state == 'live') done(true);
        else if (performance.now() > 10000) done(false);
        else setTimeout(look, 20);
    };
    look();
})";

/// A browser, and the folder that it writes to.
pub struct Browser {
    _process: Child,
    _folder: tempfile::TempDir,
    address: String,
}

impl Browser {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("chromium")
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .args(FLAGS)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium is installed: make setup-test");
        let port = port_in(&folder.path().join("DevToolsActivePort")).await;
        Self {
            _process: process,
            _folder: folder,
            address: format!("127.0.0.1:{port}"),
        }
    }

    /// A new tab that shows `url`.
    pub async fn tab(&self, url: &str) -> Tab {
        let target = self.ask("PUT", "/json/new?about:blank").await;
        let devtools = target["webSocketDebuggerUrl"].as_str().unwrap();
        let (socket, _) = connect_async(devtools).await.unwrap();
        let mut tab = Tab {
            socket,
            calls: 0,
            complaints: Vec::new(),
        };
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab.call("Page.navigate", json!({ "url": url })).await;
        tab.until("document.readyState == 'complete' && location.href != 'about:blank'")
            .await;
        tab
    }

    /// A new tab that shows the dashboard of a node, with the first data on it.
    pub async fn dashboard(&self, api: SocketAddr) -> Tab {
        let mut tab = self.tab(&format!("http://{api}/dashboard")).await;
        while tab.run(IS_LIVE).await != true {
            // A browser gives up what it loads when an interface of this machine comes or goes, as with other tests.
            let others = |complaint: &String| complaint.contains("ERR_NETWORK_CHANGED");
            assert!(tab.complaints.iter().any(others), "{:?}", tab.complaints);
            tab.complaints.clear();
            tab.call("Page.reload", json!({})).await;
        }
        tab
    }

    async fn ask(&self, method: &str, path: &str) -> Value {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Chromium keeps the connection, whatever it is asked.
        let answer = crate::common::read_until(&mut stream, "}\n").await;
        let (_, document) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(document).unwrap_or_else(|_| panic!("{answer}"))
    }
}

async fn port_in(file: &Path) -> u16 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let port = std::fs::read_to_string(file).ok();
        let port = port.and_then(|text| text.lines().next()?.parse().ok());
        if let Some(port) = port {
            return port;
        }
        assert!(Instant::now() < deadline, "the browser does not start");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A page.
pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    /// What the browser found wrong with the page: errors of its scripts, and what it may not or cannot load.
    complaints: Vec<String>,
}

impl Tab {
    /// What a piece of JavaScript comes to, once it is settled.
    pub async fn run(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let told = self.call("Runtime.evaluate", asked).await;
        assert!(told["exceptionDetails"].is_null(), "{script}: {told}");
        told["result"]["value"].clone()
    }

    /// Waits until a condition holds.
    pub async fn until(&mut self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(condition).await != true {
            let late = Instant::now() > deadline;
            assert!(!late, "not so in the browser: {condition}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let call = json!({ "id": id, "method": method, "params": parameters });
        self.socket
            .send(Message::text(call.to_string()))
            .await
            .unwrap();
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await;
            let frame = frame.expect("the browser answers").unwrap().unwrap();
            let told: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap_or_default();
            if told["id"] == id {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            if is_complaint(&told) {
                self.complaints.push(told["params"].to_string());
            }
        }
    }
}

fn is_complaint(event: &Value) -> bool {
    match event["method"].as_str() {
        Some("Runtime.exceptionThrown") => true,
        Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
        Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
        _ => false,
    }
}
