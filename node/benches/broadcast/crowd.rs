//! Very many subscribers at the least cost: threads with one epoll loop each, which read from sockets into one buffer.
//!
//! What came is looked at where it was read; every subscriber's messages are to be there, each once and in order. A
//! share of them reads at once and is timed. The others read about once a second: what the clients of a real node cost
//! is not paid by the node's machine.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use memchr::memmem::Finder;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::retry_on_intr;
use tokio::time::Instant;

use super::socket::{UPGRADE, frame};

const READ_BYTES: usize = 64 << 10;
/// Sockets that are read before the clock is.
const EVENTS_MAX: usize = 256;
/// With fewer of them a thread rests for so long: whoever writes has nobody to wake meanwhile.
const FEW_EVENTS: usize = 64;
const REST: Duration = Duration::from_millis(1);
/// How long the thread waits for timed subscribers before it looks after others.
const WAIT: Duration = Duration::from_millis(10);
/// Others that read in one turn at most: who is timed is not to wait for them.
const UNTIMED_A_TURN_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// What came to all of them together.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// From before a message was sent until its timed subscriber's thread had read it and those beside it, in
    /// microseconds.
    pub(super) latencies_us: Vec<u32>,
    /// Messages that came to all.
    pub(super) messages: u64,
    /// Reads that brought something.
    pub(super) reads: u64,
    /// Processor time of the threads, from the first message on.
    pub(super) cpu: Duration,
}

/// Subscribers of a topic whose messages are numbered from 1.
pub(super) struct Crowd {
    thread: Option<JoinHandle<Result<Told, String>>>,
    ends: Arc<AtomicBool>,
    messages: Arc<AtomicU64>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

impl Crowd {
    /// So many, so many of which are timed. Messages say when they were sent, in microseconds since `start`.
    pub(super) fn of(
        node: SocketAddr,
        topic: &str,
        (count, timed): (usize, usize),
        start: Instant,
    ) -> Result<Self, String> {
        let opened = (0..count).map(|_| open(node, topic));
        let mut reader = Reader {
            subscribers: opened.collect::<Result<_, _>>()?,
            timed_step: count / timed.max(1),
            next_untimed: 0,
            told: Told::default(),
            sent_us: Vec::with_capacity(EVENTS_MAX),
            messages: Arc::default(),
            number: Finder::new(b"\"n\":"),
            sent: Finder::new(b"\"sent_us\":"),
            start,
        };
        let (messages, ends) = (Arc::clone(&reader.messages), Arc::default());
        let until = Arc::clone(&ends);
        #[expect(clippy::disallowed_methods, reason = "a benchmark is not simulated")]
        let thread = std::thread::spawn(move || {
            reader.read_all(&until)?;
            Ok(reader.told)
        });
        Ok(Self {
            thread: Some(thread),
            ends,
            messages,
        })
    }

    /// Messages that came to all of them together.
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Lets them go.
    pub(super) fn end(mut self) -> Result<Told, String> {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("a crowd ends once")?;
        let told = thread.join();
        told.map_err(|_| "the thread of subscribers panicked".to_owned())?
    }
}

struct Subscriber {
    stream: TcpStream,
    /// A frame of which more is to come.
    held: Vec<u8>,
    last: u64,
}

fn open(node: SocketAddr, topic: &str) -> Result<Subscriber, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(node).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    let head = format!("GET /live?topic={topic} HTTP/1.1\r\nhost: {node}\r\n{UPGRADE}\r\n");
    stream.write_all(head.as_bytes()).map_err(words)?;
    let mut held = vec![0; 4096];
    let mut filled = 0;
    loop {
        let read = match stream.read(&mut held[filled..]) {
            // A node of the part before has ended: reads with a timeout are not begun again by themselves.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other.map_err(words)?,
        };
        filled += read;
        let end = memchr::memmem::find(&held[..filled], b"\r\n\r\n");
        if let Some(end) = end {
            if !held.starts_with(b"HTTP/1.1 101") {
                return Err(String::from_utf8_lossy(&held[..end]).into_owned());
            }
            held.truncate(filled);
            held.drain(..end + 4);
            break;
        }
        if read == 0 {
            return Err("a node hangs up on an upgrade".to_owned());
        }
    }
    stream.set_nonblocking(true).map_err(words)?;
    Ok(Subscriber {
        stream,
        held,
        last: 0,
    })
}

struct Reader {
    subscribers: Vec<Subscriber>,
    /// Each so many there is one that is timed.
    timed_step: usize,
    next_untimed: usize,
    told: Told,
    /// Of messages that were read since the last look at the clock.
    sent_us: Vec<u64>,
    messages: Arc<AtomicU64>,
    number: Finder<'static>,
    sent: Finder<'static>,
    start: Instant,
}

impl Reader {
    fn read_all(&mut self, ends: &AtomicBool) -> Result<(), String> {
        let words = |error: rustix::io::Errno| error.to_string();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(words)?;
        // Told once for each time that something comes: a read that does not fill the buffer has taken all.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        for (number, one) in self.subscribers.iter().enumerate() {
            if number.is_multiple_of(self.timed_step) {
                let data = epoll::EventData::new_u64(number as u64);
                epoll::add(&epoll, &one.stream, data, flags).map_err(words)?;
            }
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let wait = Timespec::try_from(WAIT).map_err(|e| e.to_string())?;
        let mut cpu_before = None;
        let mut looked_at = Instant::now();
        while !ends.load(Ordering::Relaxed) {
            retry_on_intr(|| epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait)))
                .map_err(words)?;
            let came = events.len();
            for event in events.drain(..) {
                self.read(event.data.u64() as usize, &mut buffer)?;
            }
            if !self.sent_us.is_empty() {
                if cpu_before.is_none() {
                    cpu_before = Some(cpu_of_this_thread()?);
                }
                let now_us = self.start.elapsed().as_micros() as u64;
                let waited = self.sent_us.drain(..).map(|sent_us| now_us - sent_us);
                self.told.latencies_us.extend(waited.map(|us| us as u32));
            }
            let share = looked_at.elapsed().as_secs_f64() * self.subscribers.len() as f64;
            if share >= 1.0 {
                looked_at = Instant::now();
                self.read_untimed((share as usize).min(UNTIMED_A_TURN_MAX), &mut buffer)?;
            }
            self.messages.store(self.told.messages, Ordering::Relaxed);
            if came < FEW_EVENTS {
                std::thread::sleep(REST);
            }
        }
        if let Some(before) = cpu_before {
            self.told.cpu = cpu_of_this_thread()?.saturating_sub(before);
        }
        Ok(())
    }

    /// Reads all that came to the next ones of those who are not timed.
    fn read_untimed(&mut self, count: usize, buffer: &mut [u8]) -> Result<(), String> {
        for _ in 0..count {
            let number = self.next_untimed;
            self.next_untimed = (number + 1) % self.subscribers.len();
            if !number.is_multiple_of(self.timed_step) {
                self.read(number, buffer)?;
                self.sent_us.clear();
            }
        }
        Ok(())
    }

    /// Reads all that came to a subscriber.
    fn read(&mut self, number: usize, buffer: &mut [u8]) -> Result<(), String> {
        loop {
            let one = &mut self.subscribers[number];
            let read = match one.stream.read(buffer) {
                Ok(0) => return Err("the node ends a subscriber".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            self.told.reads += 1;
            let mut held = std::mem::take(&mut one.held);
            if held.is_empty() {
                let used = self.take_frames(number, &buffer[..read])?;
                self.subscribers[number].held = buffer[used..read].to_vec();
            } else {
                held.extend_from_slice(&buffer[..read]);
                let used = self.take_frames(number, &held)?;
                held.drain(..used);
                self.subscribers[number].held = held;
            }
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Looks at whole frames; how many bytes they take.
    fn take_frames(&mut self, number: usize, bytes: &[u8]) -> Result<usize, String> {
        let mut used = 0;
        while let Some((start, end)) = frame(&bytes[used..]) {
            let payload = &bytes[used + start..used + end];
            used += end;
            for at in self.number.find_iter(payload) {
                let rest = &payload[at + self.number.needle().len()..];
                let came = digits(rest);
                let last = &mut self.subscribers[number].last;
                if came != *last + 1 {
                    return Err(format!("message {came} follows {last}"));
                }
                *last = came;
                self.told.messages += 1;
                let sent = self.sent.find(rest).ok_or("a message without its time")?;
                let sent_us = digits(&rest[sent + self.sent.needle().len()..]);
                self.sent_us.push(sent_us);
            }
        }
        Ok(used)
    }
}

fn digits(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

fn cpu_of_this_thread() -> Result<Duration, String> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat");
    let stat = stat.map_err(|error| error.to_string())?;
    let ran_ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    ran_ns
        .map(Duration::from_nanos)
        .ok_or_else(|| "no processor time".to_owned())
}
