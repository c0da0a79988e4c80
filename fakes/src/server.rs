//! The server: threads, one request a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::http::{Answer, Handler, Reply, Request};

const HEAD_BYTES_MAX: u64 = 16 << 10;
const BODY_BYTES_MAX: usize = 64 << 10;
const CONNECTIONS_MAX: usize = 512;
/// As Gluetun's control server has it.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How soon something that waits on nothing sees that the server is stopped.
const STOP_POLL: Duration = Duration::from_millis(50);

/// Whether a server was stopped.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<AtomicBool>);

impl Stopped {
    /// Whether it was.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits, but not beyond the stop; false once it was stopped.
    pub fn wait(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            if self.get() || rest.is_zero() {
                return !self.get();
            }
            thread::sleep(rest.min(STOP_POLL));
        }
    }
}

/// A server; stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopped: Stopped,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves until it is dropped.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stopped = Stopped::default();
        let seen = stopped.clone();
        let thread = thread::spawn(move || accept(&listener, &handler, &seen));
        Ok(Self {
            address,
            stopped,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.0.store(true, Ordering::Relaxed);
        let mut wake = self.address;
        match wake.ip() {
            ip if !ip.is_unspecified() => {}
            ip if ip.is_ipv4() => wake.set_ip(Ipv4Addr::LOCALHOST.into()),
            _ => wake.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
        let _ = TcpStream::connect_timeout(&wake, READ_TIMEOUT);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, handler: &Arc<dyn Handler>, stopped: &Stopped) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stopped.get() {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, say: it would come again at once.
            stopped.wait(STOP_POLL);
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (handler, stopped, open) = (Arc::clone(handler), stopped.clone(), Arc::clone(&open));
        thread::spawn(move || {
            // A client that broke off is no concern of a server's.
            let _ = serve(stream, &*handler, &stopped);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn serve(mut stream: TcpStream, handler: &dyn Handler, stopped: &Stopped) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    if handler.resets() {
        // Closed with bytes that were not read, a connection is reset.
        stream.peek(&mut [0])?;
        return Ok(());
    }
    let reply = match read_request(&stream) {
        Ok(Some(request)) => handler.reply(&request),
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::text(400, error.to_string()).into()
        }
        Err(error) => return Err(error),
    };
    match reply {
        Reply::Answer(answer) => {
            stopped.wait(answer.delay);
            write_answer(&mut stream, &answer)?;
        }
        Reply::Hang => hang(&mut stream, stopped)?,
        Reply::Close => {}
        Reply::Stream(body) => body(&mut stream, stopped)?,
    }
    stream.shutdown(Shutdown::Write)
}

/// Holds a connection until its client goes or the server is stopped.
fn hang(stream: &mut TcpStream, stopped: &Stopped) -> io::Result<()> {
    stream.set_read_timeout(Some(STOP_POLL))?;
    while !stopped.get() {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return Ok(()),
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// `None` when the client went without a request.
fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream).take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_ascii_whitespace();
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(invalid("no request line of HTTP/1"));
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(invalid("the head is cut off or too long"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        request.headers.push((name.to_ascii_lowercase(), value));
    }
    let length = match request.header("content-length") {
        Some(length) => length.parse().map_err(|_| invalid("no length"))?,
        None if request.header("transfer-encoding").is_some() => {
            return Err(invalid("bodies need a Content-Length"));
        }
        None => 0,
    };
    if length > BODY_BYTES_MAX {
        return Err(invalid("the body is too long"));
    }
    request.body = vec![0; length];
    reader.into_inner().read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn write_answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let length = answer.body.len() + answer.missing_bytes;
    let mut head = format!(
        "HTTP/1.1 {} {}\r\nContent-Length: {length}\r\nConnection: close\r\n",
        answer.status,
        reason(answer.status)
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_and_a_wrong_one_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo = |request: &Request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            Answer::text(200, body).into()
        };
        let server = Server::start(listener, Arc::new(echo)).unwrap();
        for (request, status, body) in [
            (
                "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                "200",
                "hello",
            ),
            (
                "PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
                "400",
                "",
            ),
            ("nonsense\r\n\r\n", "400", ""),
        ] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.ends_with(body), "{answer}");
        }
    }
}
