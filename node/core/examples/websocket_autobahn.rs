//! The Autobahn suite's cases for servers, against an echo of the decoder. Run by hand, where its `wstest` is:
//!
//! `WSTEST="python2 -m autobahntestsuite.wstest" cargo run --release -p weir-core --example websocket_autobahn`
//!
//! `CASES="12.* 13.*"` runs these alone; they, which are about compression, run on Python 3 as well, see
//! `sim/conformance/wstest_deflate.py`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "whoever runs it reads what it says and why it ends"
)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use weir_core::websocket::{
    Agreed, Decoder, Deflater, Event, Opcode, close_frame, frame, handshake, pong_frame,
};

/// The longest messages of the suite have 16 MiB.
const MESSAGE_BYTES_MAX: usize = 17 << 20;
const SILENCE_MAX: Duration = Duration::from_secs(30);

fn read_head(stream: &mut TcpStream) -> HeaderMap {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let fields = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    fields
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

/// A message as the node sends it: compressed where that was agreed on and makes it shorter.
fn message(opcode: Opcode, payload: &[u8], deflater: &mut Option<Deflater>) -> Vec<u8> {
    let short = deflater
        .as_mut()
        .and_then(|deflater| deflater.deflate(payload));
    let Some(short) = short else {
        return frame(opcode, payload);
    };
    let mut frame = frame(opcode, &short);
    frame[0] |= 0x40;
    frame
}

/// Echoes everything, as a connection of the node answers frames.
fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    let headers = read_head(&mut stream);
    let shaken = handshake(&Method::GET, Version::HTTP_11, &headers, &[]).unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    let Agreed { told, reads_all } = shaken.deflate.unwrap_or(Agreed {
        told: "",
        reads_all: false,
    });
    let extensions = match told {
        "" => String::new(),
        told => format!("sec-websocket-extensions: {told}\r\n"),
    };
    write!(
        stream,
        "{head}{extensions}sec-websocket-accept: {}\r\n\r\n",
        shaken.accept
    )?;
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX).deflated(!told.is_empty());
    let mut deflater = reads_all.then(Deflater::default);
    let mut buffer = vec![0; 16 << 10];
    'talk: loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut bytes = &buffer[..read];
        while !bytes.is_empty() {
            let (used, event) = match decoder.decode(bytes) {
                Ok(decoded) => decoded,
                Err(violation) => {
                    stream.write_all(&close_frame(violation.code(), &violation.to_string()))?;
                    break 'talk;
                }
            };
            bytes = &bytes[used..];
            match event {
                None | Some(Event::Pong) => {}
                Some(Event::Text(text)) => {
                    stream.write_all(&message(Opcode::Text, text.as_bytes(), &mut deflater))?
                }
                Some(Event::Binary(bytes)) => {
                    stream.write_all(&message(Opcode::Binary, &bytes, &mut deflater))?
                }
                Some(Event::Ping(payload)) => stream.write_all(&pong_frame(&payload))?,
                Some(Event::Close(close)) => {
                    let answer = match close {
                        None => frame(Opcode::Close, b""),
                        Some(close) => close_frame(close.code, ""),
                    };
                    stream.write_all(&answer)?;
                    break 'talk;
                }
            }
        }
    }
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn main() {
    let wstest = std::env::var("WSTEST").expect("WSTEST says how wstest is called");
    let cases = std::env::var("CASES").unwrap_or_else(|_| "*".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let folder = std::env::temp_dir().join(format!("weir-autobahn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let spec = serde_json::json!({
        "outdir": folder.join("reports"),
        "servers": [{ "agent": "weir", "url": format!("ws://{address}") }],
        "cases": cases.split(' ').collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    std::fs::write(folder.join("spec.json"), spec.to_string()).unwrap();
    let mut words = wstest.split(' ');
    let mut suite = Command::new(words.next().unwrap())
        .args(words)
        .args(["-m", "fuzzingclient", "-s"])
        .arg(folder.join("spec.json"))
        .spawn()
        .unwrap();
    while suite.try_wait().unwrap().is_none() {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                // The suite breaks connections off on purpose.
                let _ = echo(stream);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let index = std::fs::read(folder.join("reports/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let mut score = BTreeMap::<String, Vec<String>>::new();
    for (case, result) in index["weir"].as_object().unwrap() {
        for part in ["behavior", "behaviorClose"] {
            let found = format!("{part} {}", result[part].as_str().unwrap());
            score.entry(found).or_default().push(case.clone());
        }
    }
    for (found, cases) in &score {
        println!("{found}: {}", cases.len());
        let is_passed = found.ends_with(" OK") || found.ends_with(" INFORMATIONAL");
        assert!(is_passed, "{found}: {cases:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
