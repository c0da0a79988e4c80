//! Many clients at the least cost: one epoll loop, because what the clients of a real node cost is not paid by the
//! node's machine.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use tokio::time::Instant;

use super::PATIENCE;

const READ_BYTES: usize = 64 << 10;
const EVENTS_MAX: usize = 256;
/// So many ask before answers are looked for.
const ASK_AT_ONCE: usize = 64;
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Keep-alive connections that all ask for the same at once.
pub(super) struct Many {
    clients: Vec<OneOfMany>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
}

struct OneOfMany {
    stream: TcpStream,
    asked: Instant,
    came: Vec<u8>,
    took: Option<Duration>,
}

impl Many {
    /// So many clients, spread over these nodes.
    pub(super) fn connect(nodes: &[SocketAddr], clients: usize) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(words)?;
        let clients = (0..clients)
            .map(|number| {
                let one = OneOfMany::connect(nodes[number % nodes.len()]).map_err(words)?;
                let data = epoll::EventData::new_u64(number as u64);
                epoll::add(&epoll, &one.stream, data, epoll::EventFlags::IN).map_err(words)?;
                Ok(one)
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            clients,
            epoll,
            buffer: vec![0; READ_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Only so many go on.
    pub(super) fn truncate(&mut self, clients: usize) {
        self.clients.truncate(clients);
    }

    /// All ask for `path`; how long each waits for a whole 200, in order.
    pub(super) fn ask(&mut self, path: &str) -> Result<Vec<Duration>, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let mut answered = 0;
        for number in 0..self.clients.len() {
            self.clients[number].ask(request.as_bytes())?;
            if number.is_multiple_of(ASK_AT_ONCE) {
                answered += self.read(&AT_ONCE)?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let wait = Timespec::try_from(PATIENCE).map_err(words)?;
        while answered < self.clients.len() {
            answered += self.read(&wait)?;
            if Instant::now() > deadline {
                let missing = self.clients.len() - answered;
                return Err(format!("{path}: {missing} without an answer"));
            }
        }
        let mut took: Vec<_> = self.clients.iter().filter_map(|one| one.took).collect();
        took.sort_unstable();
        Ok(took)
    }

    /// Reads what came; how many answers are whole with that.
    fn read(&mut self, wait: &Timespec) -> Result<usize, String> {
        let events = &mut self.events;
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(events), Some(wait)))
            .map_err(words)?;
        let mut answered = 0;
        for event in events.drain(..) {
            let number = event.data.u64() as usize;
            if self.clients[number].read(&mut self.buffer)? {
                answered += 1;
            }
        }
        Ok(answered)
    }
}

impl OneOfMany {
    fn connect(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            asked: Instant::now(),
            came: Vec::new(),
            took: None,
        })
    }

    fn ask(&mut self, request: &[u8]) -> Result<(), String> {
        (self.took, self.asked) = (None, Instant::now());
        self.stream.write_all(request).map_err(words)
    }

    /// Whether the answer is whole with what came now.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err("a node hangs up".to_owned()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(words(error)),
        };
        let mut came = std::mem::take(&mut self.came);
        let is_whole = if came.is_empty() {
            is_whole(&buffer[..read])?
        } else {
            came.extend_from_slice(&buffer[..read]);
            is_whole(&came)?
        };
        if is_whole {
            self.took = Some(self.asked.elapsed());
        } else if came.is_empty() {
            self.came = buffer[..read].to_vec();
        } else {
            self.came = came;
        }
        Ok(is_whole)
    }
}

/// Whether these bytes are a whole answer.
fn is_whole(bytes: &[u8]) -> Result<bool, String> {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(false);
    };
    let told = || String::from_utf8_lossy(bytes).into_owned();
    let head = &bytes[..head_end];
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(told());
    }
    let field = b"\r\ncontent-length: ";
    let at = memmem::find(head, field).ok_or_else(told)? + field.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Ok(bytes.len() >= head_end + 4 + length)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
