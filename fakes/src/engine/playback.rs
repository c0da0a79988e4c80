//! Streams of MPEG-TS packets that can be told apart.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::sessions::Session;
use super::state::Engine;
use crate::http::{Answer, Reply, Stopped};

/// Of a packet of MPEG-TS (ISO/IEC 13818-1).
const PACKET_BYTES: usize = 188;
const SYNC: u8 = 0x47;
const SEGMENT_PACKETS: u64 = 200;
const SEGMENTS: u64 = 3;
const TICK: Duration = Duration::from_millis(10);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/MP2T\r\nConnection: close\r\n\r\n";

/// A packet of elementary stream 0x100 with its number in the first eight bytes of its payload.
fn packet(number: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0xff; PACKET_BYTES];
    // The low four bits of a number are its continuity counter.
    packet[..4].copy_from_slice(&[SYNC, 0x01, 0x00, 0x10 | (number.to_le_bytes()[0] & 0x0f)]);
    packet[4..12].copy_from_slice(&number.to_be_bytes());
    packet
}

fn unknown() -> Reply {
    Answer::text(404, "unknown playback session id").into()
}

/// The head at once and the first packet after the prebuffer.
pub(super) fn stream(engine: &Arc<Engine>, session: &str) -> Reply {
    let Some(session) = engine.sessions.get(session) else {
        return unknown();
    };
    let engine = Arc::clone(engine);
    Reply::Stream(Box::new(move |stream, stopped| {
        session.readers.fetch_add(1, Ordering::Relaxed);
        let played = stream
            .write_all(HEAD)
            .and_then(|()| play(&engine, &session, stream, stopped));
        if session.readers.fetch_sub(1, Ordering::Relaxed) == 1 {
            engine.sessions.end(&session.id);
        }
        played
    }))
}

fn play(
    engine: &Engine,
    session: &Session,
    stream: &mut TcpStream,
    stopped: &Stopped,
) -> io::Result<()> {
    let mut sent = 0;
    let mut due = 0.0;
    let mut last = Instant::now();
    while stopped.wait(TICK) {
        let settings = engine.settings();
        let passed = last.elapsed();
        last = Instant::now();
        if session.has_ended() || settings.eof || gone(stream)? {
            return Ok(());
        }
        if settings.stall || session.is_prebuffering(settings.prebuffer_ms) {
            continue;
        }
        due += passed.as_secs_f64() * f64::from(settings.packets_per_s);
        while due >= 1.0 {
            stream.write_all(&packet(sent))?;
            sent += 1;
            due -= 1.0;
            session.packets.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// A reader that left while nothing is sent.
fn gone(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(!matches!(&peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
}

pub(super) fn manifest(engine: &Engine, session: &str) -> Reply {
    let Some(session) = engine.sessions.get(session) else {
        return unknown();
    };
    let first = session.begun.elapsed().as_secs();
    let segments: String = (first..first + SEGMENTS)
        .map(|number| {
            let (port, id) = (engine.http_port, &session.id);
            format!("#EXTINF:1.0,\nhttp://127.0.0.1:{port}/ace/c/{id}/{number}.ts\n")
        })
        .collect();
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n";
    let body = format!("{head}#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}");
    typed("application/x-mpegurl", body.into_bytes())
}

pub(super) fn segment(engine: &Engine, session: &str, name: &str) -> Reply {
    let number = name.trim_end_matches(".ts").parse::<u64>().ok();
    let (Some(session), Some(number)) = (engine.sessions.get(session), number) else {
        return unknown();
    };
    let first = number.saturating_mul(SEGMENT_PACKETS);
    session
        .packets
        .fetch_add(SEGMENT_PACKETS, Ordering::Relaxed);
    typed(
        "video/MP2T",
        (first..first.saturating_add(SEGMENT_PACKETS))
            .flat_map(packet)
            .collect(),
    )
}

fn typed(kind: &str, body: Vec<u8>) -> Reply {
    let answer = Answer {
        status: 200,
        headers: vec![("Content-Type", kind.to_owned())],
        body,
        ..Answer::default()
    };
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::{SYNC, packet};

    #[test]
    fn packets_begin_with_the_sync_byte_and_count() {
        let packet = packet(0x21);
        assert_eq!((packet[0], packet[3], packet[11]), (SYNC, 0x11, 0x21));
    }
}
