//! Requests and answers.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::state::Engine;
use super::{playback, say};
use crate::http::{Request, answer as reply, answer_json, json_text};

/// Longer than any caller waits.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);
const NOT_READY: &str = r#"{"result":null,"error":"NOTREADY"}"#;
const VERSION: &str = r#"{"code":3017000,"platform":"linux","version":"3.1.70"}"#;
const UNKNOWN_SESSION: &str = r#"{"response":null,"error":"unknown playback session id"}"#;

pub(super) fn answer(engine: &Engine, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["webui", "api", "service"] => version(engine, request, stream),
        ["server", "api"] => server_api(engine, request, stream),
        ["ace", "getstream"] => begin(engine, request, stream, false),
        ["ace", "manifest.m3u8"] => begin(engine, request, stream, true),
        ["ace", "r", _, session] => playback::stream(engine, session, stream),
        ["ace", "m", _, session] => {
            playback::manifest(engine, session.trim_end_matches(".m3u8"), stream)
        }
        ["ace", "c", session, segment] => playback::segment(engine, session, segment, stream),
        ["ace", "stat", _, session] => stat(engine, session, stream),
        ["ace", "cmd", _, session] => command(engine, request, session, stream),
        ["admin", "state"] => answer_json(stream, &engine.json()),
        ["admin", "set"] => set(engine, request, stream),
        ["admin", "say"] => {
            say(request.parameter("line").unwrap_or_default());
            answer_json(stream, "{}")
        }
        ["admin", "exit"] => exit(request, stream),
        _ => reply(stream, "404 Not Found", &[], b"not found"),
    }
}

fn version(engine: &Engine, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    engine.counts.version.fetch_add(1, Ordering::Relaxed);
    match request.parameter("method") {
        Some("get_version") if engine.is_ready() => {
            answer_json(stream, &format!(r#"{{"result":{VERSION},"error":null}}"#))
        }
        Some("get_version") => answer_json(stream, NOT_READY),
        _ => answer_json(stream, r#"{"result":null,"error":"unknown method"}"#),
    }
}

fn server_api(engine: &Engine, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let settings = engine.settings();
    match request.parameter("method") {
        Some("get_status") => {
            engine.counts.status.fetch_add(1, Ordering::Relaxed);
            let streaming = if engine.sessions.any() {
                settings.status_delay_streaming_ms
            } else {
                0
            };
            let delay = Duration::from_millis(settings.status_delay_ms.max(streaming));
            thread::sleep(if settings.status_hangs {
                FOR_EVER
            } else {
                delay
            });
            if !engine.is_ready() {
                return answer_json(stream, NOT_READY);
            }
            let status = format!(
                r#"{{"result":{{"playlist_loaded":true,"version":{VERSION}}},"error":null}}"#
            );
            answer_json(stream, &status)
        }
        Some("get_network_connection_status") => {
            engine.counts.network.fetch_add(1, Ordering::Relaxed);
            let connected = settings.connected;
            answer_json(
                stream,
                &format!(r#"{{"result":{{"connected":{connected}}},"error":null}}"#),
            )
        }
        _ => answer_json(stream, r#"{"result":null,"error":"unknown method"}"#),
    }
}

fn failed(stream: &mut TcpStream, error: &str) -> io::Result<()> {
    answer_json(
        stream,
        &format!(r#"{{"response":null,"error":{}}}"#, json_text(error)),
    )
}

fn begin(engine: &Engine, request: &Request, stream: &mut TcpStream, hls: bool) -> io::Result<()> {
    let settings = engine.settings();
    if !engine.is_ready() {
        return failed(stream, "NOTREADY");
    }
    if !settings.refuse.is_empty() {
        return failed(stream, &settings.refuse);
    }
    let Some(infohash) = infohash(request) else {
        return failed(stream, "missing content id");
    };
    let player = request
        .parameter("pid")
        .or(request.parameter("sid"))
        .unwrap_or("");
    let session = engine
        .sessions
        .begin(infohash.clone(), player.to_owned(), settings.one_player);
    // Its own address, as it knows itself: not how the caller reaches it.
    let base = format!("http://127.0.0.1:{}/ace", engine.http_port);
    let id = &session.id;
    let path = urlencoded(&infohash);
    let playback = if hls {
        format!("{base}/m/{path}/{id}.m3u8")
    } else {
        format!("{base}/r/{path}/{id}")
    };
    if request.parameter("format") != Some("json") {
        return reply(stream, "302 Found", &[("location", &playback)], b"");
    }
    let urls = format!(
        r#""playback_url":{},"stat_url":"{base}/stat/{path}/{id}","command_url":"{base}/cmd/{path}/{id}""#,
        json_text(&playback),
    );
    let session = format!(
        r#""infohash":{},"playback_session_id":"{id}""#,
        json_text(&infohash)
    );
    let rest = r#""is_live":1,"is_encrypted":0,"client_session_id":-1"#;
    let body = format!(r#"{{"response":{{{urls},{session},{rest}}},"error":null}}"#);
    answer_json(stream, &body)
}

/// A content id names the stream whose infohash is that id backwards, so that both name one stream.
fn infohash(request: &Request) -> Option<String> {
    let given = |name| request.parameter(name).filter(|value| !value.is_empty());
    let content_id = given("content_id").or(given("id"));
    let by_id = content_id.map(|id| id.chars().rev().collect());
    let others = || given("infohash").or(given("url")).or(given("magnet"));
    by_id.or_else(|| others().map(str::to_owned))
}

fn urlencoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    // A slash would make another path of it when decoded.
    text.replace('/', "_").bytes().map(encode).collect()
}

fn stat(engine: &Engine, session: &str, stream: &mut TcpStream) -> io::Result<()> {
    engine.counts.stat.fetch_add(1, Ordering::Relaxed);
    let settings = engine.settings();
    let Some(session) = engine.sessions.get(session) else {
        return answer_json(stream, UNKNOWN_SESSION);
    };
    let prebuffering = session.is_prebuffering(settings.prebuffer_ms);
    let status = if prebuffering { "prebuf" } else { "dl" };
    let (down, up) = if settings.camel_case {
        ("speedDown", "speedUp")
    } else {
        ("speed_down", "speed_up")
    };
    let bytes = session.packets.load(Ordering::Relaxed) * 188;
    let last = 1_000_000 + session.begun.elapsed().as_secs();
    let live_last = last - settings.live_lag_s.min(last);
    let body = format!(
        r#"{{"response":{{"status":"{status}","peers":{},"{down}":{},"{up}":0,"downloaded":{bytes},"uploaded":0,"#,
        settings.peers,
        settings.packets_per_s * 188 / 1024,
    ) + &format!(
        r#""livepos":{{"pos":{live_last},"live_first":{},"live_last":{live_last},"first_ts":{},"last_ts":{last},"#,
        live_last.saturating_sub(1800),
        last.saturating_sub(1800),
    ) + r#""is_live":1,"buffer_pieces":15}},"error":null}"#;
    answer_json(stream, &body)
}

fn command(
    engine: &Engine,
    request: &Request,
    session: &str,
    stream: &mut TcpStream,
) -> io::Result<()> {
    if request.parameter("method") != Some("stop") {
        return failed(stream, "unknown method");
    }
    engine.counts.stop_calls.fetch_add(1, Ordering::Relaxed);
    if engine.sessions.stop(session) {
        return answer_json(stream, r#"{"response":"ok","error":null}"#);
    }
    answer_json(stream, UNKNOWN_SESSION)
}

fn set(engine: &Engine, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    for (name, value) in &request.query {
        if let Err(error) = engine.set(name, value) {
            return reply(stream, "400 Bad Request", &[], error.as_bytes());
        }
    }
    answer_json(stream, "{}")
}

fn exit(request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let Some(code) = request.parameter("code").and_then(|code| code.parse().ok()) else {
        return reply(stream, "400 Bad Request", &[], b"`code` is a number");
    };
    answer_json(stream, "{}")?;
    say(&format!("ending with {code} as told"));
    std::process::exit(code)
}
