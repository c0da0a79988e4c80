//! What tests of the whole binary share: a node in a process of its own, and raw connections to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running node.
pub struct Weir {
    pub ingress: SocketAddr,
    pub grpc: SocketAddr,
    pub api: SocketAddr,
    pub child: Child,
    folder: tempfile::TempDir,
    listeners: String,
    environment: Vec<(String, String)>,
    through: Vec<String>,
}

impl Weir {
    /// Starts a node whose file is the listeners followed by `config`, and waits until it is ready.
    pub async fn start(config: &str) -> Self {
        Self::start_with("", config).await
    }

    /// The same with further keys of `[ingress]`.
    pub async fn start_with(ingress_keys: &str, config: &str) -> Self {
        Self::start_in(ingress_keys, config, &[]).await
    }

    /// The same with variables in the node's environment.
    pub async fn start_in(ingress_keys: &str, config: &str, environment: &[(&str, &str)]) -> Self {
        loop {
            let mut weir = Self::spawn(ingress_keys, config, environment);
            // Another test run may have taken a port in the moment since it was found free.
            let taken = weir.is_ready().await.err();
            let taken = taken.filter(|log| log.contains("Address already in use"));
            if taken.is_none() {
                assert!(
                    weir.child.try_wait().unwrap().is_none(),
                    "the node ended: {}",
                    weir.log()
                );
                return weir;
            }
        }
    }

    /// Waits until it serves; its log if it ended before.
    async fn is_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.get_api("/api/health").await.is_none() {
            if self.child.try_wait().unwrap().is_some() {
                return Err(self.log());
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "the node did not start: {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
        match self.child.try_wait().unwrap() {
            None => Ok(()),
            Some(_) => Err(self.log()),
        }
    }

    fn spawn(ingress_keys: &str, config: &str, environment: &[(&str, &str)]) -> Self {
        let [ingress, grpc, api] = free_ports();
        let listeners = format!(
            "[ingress]\nlisten = \"{ingress}\"\n{ingress_keys}\n[grpc]\nlisten = \"{grpc}\"\n\
             [http_api]\nlisten = \"{api}\"\n"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("node.toml"),
            format!("{listeners}{config}"),
        )
        .unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<(String, String)> = environment.iter().map(own).collect();
        Self {
            ingress,
            grpc,
            api,
            child: run(folder.path(), &environment, &[]),
            folder,
            listeners,
            environment,
            through: Vec::new(),
        }
    }

    /// Ends the process as a crash would.
    pub async fn crash(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts again, where it was and with the same file, what has ended.
    pub async fn start_again(&mut self) {
        self.child = run(self.folder.path(), &self.environment, &self.through);
        self.is_ready().await.unwrap();
    }

    /// From the next start on the process is started through this command, which becomes the process.
    pub fn run_through(&mut self, command: Vec<String>) {
        self.through = command;
    }

    /// Ends the process in order.
    pub async fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(
            ended.expect("it stops").unwrap().success(),
            "{}",
            self.log()
        );
    }

    /// Replaces the configuration behind the listeners, as an editor would.
    pub fn edit(&self, config: &str) {
        let next = self.folder.path().join("next.toml");
        std::fs::write(&next, format!("{}{config}", self.listeners)).unwrap();
        std::fs::rename(next, self.config_path()).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("node.toml")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> rustix::process::Pid {
        let id = self.child.id().expect("the node runs");
        rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap()
    }

    /// Status and body of a path of the HTTP API; `None` when nobody answers.
    pub async fn get_api(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.api).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_owned();
        Some((status, body))
    }

    /// The status that a path of the HTTP API answers to a document.
    pub async fn post_api(&self, path: &str, document: &str) -> u16 {
        let mut stream = TcpStream::connect(self.api).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{document}",
            document.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The sum of all samples of a metric, or of those whose line starts with its name and labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get_api("/metrics").await.unwrap();
        let is_of = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| name.contains('{') || rest.starts_with([' ', '{']))
        };
        text.lines()
            .filter(is_of)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has a value that `wanted` accepts.
    pub async fn wait_for_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name).await;
            if wanted(value) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name} stays at {value}: {}",
                self.log()
            );
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Opens a connection to the ingress.
    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.ingress).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends bytes over a new connection and reads until the node closes it.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// A GET over a connection of its own: the whole answer.
    pub async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        self.exchange(request.as_bytes()).await
    }
}

/// Runs the node of a folder.
fn run(folder: &Path, environment: &[(String, String)], through: &[String]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let weir = env!("CARGO_BIN_EXE_weir");
    let words: Vec<&str> = through.iter().map(String::as_str).chain([weir]).collect();
    Command::new(words[0])
        .args(&words[1..])
        .args(["node", "--config"])
        .arg(folder.join("node.toml"))
        .env("WEIR_NODE__CORES", "2")
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Reads until the other side closes; what a reset cut off is returned as far as it came.
pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok(),
        "the connection stays open after {:?}",
        String::from_utf8_lossy(&answer)
    );
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` has come.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, async {
        while !String::from_utf8_lossy(&answer).contains(end) {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).await.unwrap();
            assert!(
                count > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend_from_slice(&part[..count]);
        }
    })
    .await;
    assert!(
        read.is_ok(),
        "{end:?} does not come after {:?}",
        String::from_utf8_lossy(&answer)
    );
    String::from_utf8_lossy(&answer).into_owned()
}

/// Ports that nobody listens on, away from those that the kernel gives to clients; none twice.
pub fn free_ports<const N: usize>() -> [SocketAddr; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = (std::process::id() % 2_200) * 10;
    std::array::from_fn(|_| {
        loop {
            let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
            let address = SocketAddr::from(([127, 0, 0, 1], port.try_into().unwrap()));
            if std::net::TcpListener::bind(address).is_ok() {
                break address;
            }
        }
    })
}

/// A demo backend in a process of its own.
pub struct Backend {
    pub address: SocketAddr,
    pub child: Child,
}

impl Backend {
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0").await
    }

    pub async fn start_at(name: &str, listen: &str) -> Self {
        use tokio::io::AsyncBufReadExt as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["demo-backend", "--listen", listen, "--name", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
        let line = stdout.lines().next_line().await.unwrap().unwrap();
        Self {
            address: line.parse().unwrap(),
            child,
        }
    }
}

/// A backend that answers each connection by `script`, in this process.
pub async fn scripted_backend<F, R>(script: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// One HTTP/1.1 service `web` with these backends, and a route for everything.
pub fn web(backends: &[SocketAddr], service_keys: &str) -> String {
    let backends: Vec<String> = backends
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    format!(
        "[services.web]\nbackends = [{}]\n{service_keys}\n[[routes]]\nservice = \"web\"\n",
        backends.join(", ")
    )
}
