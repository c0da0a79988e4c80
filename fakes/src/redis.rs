//! A real Redis for tests, which lives no longer than they do.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const STARTS_MAX: usize = 5;
const START_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A Redis on a free port, with a folder of its own. It dies with this, and with the thread that started it.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts an empty one that keeps nothing on disk, and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `--requirepass` and a password.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not take them.
    pub fn start_with(arguments: &[&str]) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-redis-{}-{number}", process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        let arguments: Vec<String> = arguments.iter().map(|&text| text.into()).collect();
        // Another process may have taken a port meanwhile.
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let mut redis = Self {
                process: spawn(&folder, port, &arguments),
                folder: folder.clone(),
                port,
                arguments: arguments.clone(),
            };
            if redis.answers() {
                return redis;
            }
        }
        panic!("redis-server did not start {STARTS_MAX} times");
    }

    /// Where clients find it, without a password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as kill -9 does.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process ended");
    }

    /// Starts it again where it was, on what it saved.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.folder, self.port, &self.arguments);
        assert!(self.answers(), "redis-server did not start again");
    }

    /// Stops its clock.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Gives one command and returns the answer: a text as it is, a number in digits, nothing as an empty text.
    ///
    /// # Errors
    /// What it answers instead, or why it does not.
    pub fn ask(&self, words: &[&[u8]]) -> Result<Vec<u8>, String> {
        ask(self.port, words).map_err(|error| error.to_string())?
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.expect("there is kill").success());
    }

    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            // An error is an answer too, unless it is that the data is being read.
            let answer = ask(self.port, &[b"PING"]);
            if answer.is_ok_and(|answer| answer.err().is_none_or(|why| !why.contains("LOADING"))) {
                return true;
            }
            thread::sleep(LOOK_AGAIN);
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, port: u16, arguments: &[String]) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need redis-server: apt-get install redis-server")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

fn ask(port: u16, words: &[&[u8]]) -> io::Result<Result<Vec<u8>, String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    stream.write_all(&command)?;
    answer(&mut BufReader::new(stream))
}

fn answer(stream: &mut impl BufRead) -> io::Result<Result<Vec<u8>, String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).unwrap_or_default();
    match kind {
        "+" | ":" => Ok(Ok(rest.into())),
        "-" => Ok(Err(rest.into())),
        "$" => {
            let bytes: usize = rest.parse().unwrap_or(0);
            let mut value = vec![0; bytes];
            stream.read_exact(&mut value)?;
            Ok(Ok(value))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, line)),
    }
}
