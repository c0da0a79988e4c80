//! The engine as its users find it: the program, over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and wait for a program"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir_fakes::get;

const PACKET_BYTES: usize = 188;
const EVENTUALLY: Duration = Duration::from_secs(20);

struct Engine {
    child: Child,
    address: String,
}

impl Engine {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fake-engine"))
            .arg("--http-port=0")
            .args(arguments)
            .env("P2P_PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> String {
        get(&format!("{}{path}", self.address)).unwrap()
    }

    /// What a URL of its own answers.
    fn follow(&self, url: &str) -> String {
        let own = format!("http://{}", self.address);
        self.get(
            url.strip_prefix(&own)
                .unwrap_or_else(|| panic!("{url} is not on {own}")),
        )
    }

    fn session(&self, query: &str) -> Session {
        let answer = self.get(&format!("/ace/getstream?format=json&{query}"));
        let text = |name| member(&answer, name).unwrap_or_else(|| panic!("{name} in {answer}"));
        Session {
            playback: text("playback_url"),
            stat: text("stat_url"),
            command: text("command_url"),
            infohash: text("infohash"),
        }
    }

    /// Begins to read a stream.
    fn play(&self, session: &Session) -> TcpStream {
        let path = session.playback.split_once(&self.address).unwrap().1;
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(EVENTUALLY)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: video/MP2T\r\n"));
        stream
    }

    fn eventually(&self, path: &str, wanted: &str) {
        let begun = Instant::now();
        while !self.get(path).contains(wanted) {
            assert!(
                begun.elapsed() < EVENTUALLY,
                "{wanted} in {}",
                self.get(path)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Session {
    playback: String,
    stat: String,
    command: String,
    infohash: String,
}

fn member(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn packets(stream: &mut TcpStream, count: usize) -> Vec<[u8; PACKET_BYTES]> {
    let read = |_| {
        let mut packet = [0; PACKET_BYTES];
        stream.read_exact(&mut packet).unwrap();
        packet
    };
    (0..count).map(read).collect()
}

const VERSION: &str = "/webui/api/service?method=get_version";
const STATUS: &str = "/server/api?api_version=3&method=get_status";

#[test]
fn an_engine_is_not_ready_at_first_and_counts_who_asked() {
    let engine = Engine::start(&["--fake-not-ready-ms=100000", "--port=4711"]);
    assert!(
        engine
            .get(VERSION)
            .contains(r#"{"result":null,"error":"NOTREADY"}"#)
    );
    assert!(engine.get(STATUS).contains("NOTREADY"));
    assert!(
        engine
            .get("/ace/getstream?id=ab&format=json")
            .contains(r#""response":null,"error":"NOTREADY""#)
    );
    engine.get("/admin/set?not_ready_ms=0");
    assert!(
        engine
            .get(VERSION)
            .contains(r#""version":"3.1.70"},"error":null}"#)
    );
    let network = engine.get("/server/api?api_version=3&method=get_network_connection_status");
    assert!(network.contains(r#"{"result":{"connected":true},"error":null}"#));
    let state = engine.get("/admin/state");
    for part in [
        r#""p2p_port":4711,"#,
        r#""probes":4,"version_probes":2,"status_probes":1,"#,
        r#""P2P_PORT":"0""#,
    ] {
        assert!(state.contains(part), "{part} in {state}");
    }
}

#[test]
fn a_stream_prebuffers_and_then_comes_in_whole_packets_that_count() {
    let engine = Engine::start(&["--fake-prebuffer-ms=100000"]);
    let session = engine.session("content_id=abc&pid=me");
    assert!(
        engine
            .follow(&session.stat)
            .contains(r#""status":"prebuf""#)
    );
    let mut stream = engine.play(&session);
    engine.get("/admin/set?prebuffer_ms=0");
    for (number, packet) in packets(&mut stream, 300).iter().enumerate() {
        assert_eq!(
            (
                packet[0],
                u64::from_be_bytes(packet[4..12].try_into().unwrap())
            ),
            (0x47, number as u64)
        );
    }
    let stat = engine.follow(&session.stat);
    assert!(
        stat.contains(r#""status":"dl""#) && stat.contains(r#""speed_down":"#),
        "{stat}"
    );
    engine.get("/admin/set?camel_case=true");
    assert!(engine.follow(&session.stat).contains(r#""speedDown":"#));
}

#[test]
fn content_id_and_infohash_name_one_stream_and_its_second_player_ends_the_first() {
    let engine = Engine::start(&[]);
    let one = engine.session("content_id=abc");
    let mut first = engine.play(&one);
    packets(&mut first, 1);
    let two = engine.session("infohash=cba");
    assert_eq!(
        (one.infohash.as_str(), two.infohash.as_str()),
        ("cba", "cba")
    );
    first.read_to_end(&mut Vec::new()).unwrap();
    assert!(
        engine
            .follow(&one.stat)
            .contains("unknown playback session id")
    );

    engine.get("/admin/set?one_player=false");
    let three = engine.session("id=abc");
    for session in [&two, &three] {
        packets(&mut engine.play(session), 1);
    }
    assert!(
        engine
            .get("/admin/state")
            .contains(r#""starts":3,"stops":0,"displaced":1"#)
    );
}

#[test]
fn a_stop_counts_once_and_ends_the_stream() {
    let engine = Engine::start(&[]);
    let session = engine.session("infohash=x%2Fy%22z");
    let mut stream = engine.play(&session);
    let stop = format!("{}?method=stop", session.command);
    assert!(
        engine
            .follow(&stop)
            .contains(r#"{"response":"ok","error":null}"#)
    );
    assert!(
        engine
            .follow(&stop)
            .contains(r#"{"response":null,"error":"unknown playback session id"}"#)
    );
    stream.read_to_end(&mut Vec::new()).unwrap();
    let state = engine.get("/admin/state");
    assert!(
        state.contains(r#""stop_calls":2,"#) && state.contains(r#""stops":1,"#),
        "{state}"
    );
}

#[test]
fn a_stream_ends_when_its_reader_goes_even_while_it_stalls() {
    let engine = Engine::start(&["--fake-stall=true"]);
    let session = engine.session("id=a");
    let stream = engine.play(&session);
    engine.eventually("/admin/state", r#""readers":1,"#);
    drop(stream);
    engine.eventually("/admin/state", r#""sessions":[]"#);
}

#[test]
fn without_json_it_redirects_and_refusals_have_status_200() {
    let engine = Engine::start(&[]);
    let redirect = engine.get("/ace/getstream?id=a");
    assert!(redirect.starts_with("HTTP/1.1 302 Found\r\n"), "{redirect}");
    let location = redirect
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .unwrap();
    assert!(
        location.starts_with(&format!("http://{}/ace/r/a/", engine.address)),
        "{location}"
    );
    let hls = member(
        &engine.get("/ace/manifest.m3u8?id=a&format=json"),
        "playback_url",
    )
    .unwrap();
    let manifest = engine.follow(&hls);
    let segment = manifest
        .lines()
        .find(|line| line.starts_with("http://"))
        .unwrap();
    assert!(engine.follow(segment).contains("Content-Length: 37600\r\n"));

    engine.get("/admin/set?refuse=no+peers");
    let refused = engine.get("/ace/getstream?format=json&id=a");
    assert!(refused.starts_with("HTTP/1.1 200 OK\r\n"), "{refused}");
    assert!(
        refused.ends_with(r#"{"response":null,"error":"no peers"}"#),
        "{refused}"
    );
}

#[test]
fn its_status_hangs_or_slows_as_told() {
    let engine = Engine::start(&["--fake-status-delay-streaming-ms=1000"]);
    let took = || {
        let begun = Instant::now();
        engine.get(STATUS);
        begun.elapsed()
    };
    assert!(took() < Duration::from_millis(1000));
    engine.session("id=a");
    assert!(took() >= Duration::from_millis(1000));
    engine.get("/admin/set?status_hangs=true");
    let mut stream = TcpStream::connect(&engine.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    write!(stream, "GET {STATUS} HTTP/1.1\r\n\r\n").unwrap();
    let silent = stream.read(&mut [0]).unwrap_err();
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn it_ends_with_the_code_that_it_is_told() {
    let mut engine = Engine::start(&[]);
    engine.get("/admin/exit?code=7");
    assert_eq!(engine.child.wait().unwrap().code(), Some(7));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-engine"));
    assert_eq!(
        command
            .arg("--fake-exit-at-once=3")
            .status()
            .unwrap()
            .code(),
        Some(3)
    );
    assert_eq!(
        command.arg("--fake-nothing=3").status().unwrap().code(),
        Some(2)
    );
}
