//! Requests and answers.

use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::state::Engine;
use super::{json, playback, say};
use crate::http::{Answer, Reply, Request};

const NOT_READY: &str = r#"{"result":null,"error":"NOTREADY"}"#;
const VERSION: &str = r#"{"code":3017000,"platform":"linux","version":"3.1.70"}"#;
const UNKNOWN_METHOD: &str = r#"{"result":null,"error":"unknown method"}"#;
const UNKNOWN_SESSION: &str = r#"{"response":null,"error":"unknown playback session id"}"#;

struct Query(Vec<(String, String)>);

impl Query {
    /// The first value that is not empty.
    fn get(&self, wanted: &str) -> Option<&str> {
        let mut given = self.0.iter().filter(|(_, value)| !value.is_empty());
        given
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    }
}

pub(super) fn reply(engine: &Arc<Engine>, request: &Request) -> Reply {
    let query = Query(request.query());
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts.as_slice() {
        ["webui", "api", "service"] => version(engine, &query),
        ["server", "api"] => server_api(engine, &query),
        ["ace", "getstream"] => begin(engine, &query, false),
        ["ace", "manifest.m3u8"] => begin(engine, &query, true),
        ["ace", "r", _, session] => playback::stream(engine, session),
        ["ace", "m", _, session] => playback::manifest(engine, session.trim_end_matches(".m3u8")),
        ["ace", "c", session, segment] => playback::segment(engine, session, segment),
        ["ace", "stat", _, session] => stat(engine, session),
        ["ace", "cmd", _, session] => command(engine, &query, session),
        ["admin", "state"] => ok(engine.json()),
        ["admin", "set"] => set(engine, &query),
        ["admin", "say"] => {
            say(query.get("line").unwrap_or_default());
            ok("{}")
        }
        ["admin", "exit"] => exit(&query),
        _ => Answer::text(404, "not found").into(),
    }
}

fn ok(json: impl Into<String>) -> Reply {
    Answer::json(200, json).into()
}

fn version(engine: &Engine, query: &Query) -> Reply {
    engine.counts.version.fetch_add(1, Ordering::Relaxed);
    match query.get("method") {
        Some("get_version") if engine.is_ready() => {
            ok(format!(r#"{{"result":{VERSION},"error":null}}"#))
        }
        Some("get_version") => ok(NOT_READY),
        _ => ok(UNKNOWN_METHOD),
    }
}

fn server_api(engine: &Engine, query: &Query) -> Reply {
    match query.get("method") {
        Some("get_status") => status(engine),
        Some("get_network_connection_status") => {
            engine.counts.network.fetch_add(1, Ordering::Relaxed);
            let connected = engine.settings().connected;
            ok(format!(
                r#"{{"result":{{"connected":{connected}}},"error":null}}"#
            ))
        }
        _ => ok(UNKNOWN_METHOD),
    }
}

fn status(engine: &Engine) -> Reply {
    engine.counts.status.fetch_add(1, Ordering::Relaxed);
    let settings = engine.settings();
    if settings.status_hangs {
        return Reply::Hang;
    }
    let streaming_ms = if engine.sessions.any() {
        settings.status_delay_streaming_ms
    } else {
        0
    };
    let status =
        format!(r#"{{"result":{{"playlist_loaded":true,"version":{VERSION}}},"error":null}}"#);
    let answer = Answer {
        delay: Duration::from_millis(settings.status_delay_ms.max(streaming_ms)),
        ..Answer::json(
            200,
            if engine.is_ready() {
                &status
            } else {
                NOT_READY
            },
        )
    };
    answer.into()
}

fn failed(error: &str) -> Reply {
    ok(format!(
        r#"{{"response":null,"error":{}}}"#,
        json::text(error)
    ))
}

fn begin(engine: &Engine, query: &Query, hls: bool) -> Reply {
    let settings = engine.settings();
    if !engine.is_ready() {
        return failed("NOTREADY");
    }
    if !settings.refuse.is_empty() {
        return failed(&settings.refuse);
    }
    let Some(infohash) = infohash(query) else {
        return failed("missing content id");
    };
    let player = query.get("pid").or(query.get("sid")).unwrap_or_default();
    let begun = engine
        .sessions
        .begin(infohash.clone(), player.to_owned(), settings.one_player);
    // Its own address, as it knows itself: not how the caller reaches it.
    let base = format!("http://127.0.0.1:{}/ace", engine.http_port);
    let id = &begun.id;
    let path = urlencoded(&infohash);
    let playback = if hls {
        format!("{base}/m/{path}/{id}.m3u8")
    } else {
        format!("{base}/r/{path}/{id}")
    };
    if query.get("format") != Some("json") {
        return Answer::redirect(302, playback).into();
    }
    let urls = format!(
        r#""playback_url":"{playback}","stat_url":"{base}/stat/{path}/{id}","command_url":"{base}/cmd/{path}/{id}""#,
    );
    let session = format!(
        r#""infohash":{},"playback_session_id":"{id}""#,
        json::text(&infohash)
    );
    let rest = r#""is_live":1,"is_encrypted":0,"client_session_id":-1"#;
    ok(format!(
        r#"{{"response":{{{urls},{session},{rest}}},"error":null}}"#
    ))
}

/// A content id names the stream whose infohash is that id backwards, so that both name one stream.
fn infohash(query: &Query) -> Option<String> {
    let content_id = query.get("content_id").or(query.get("id"));
    let by_id = content_id.map(|id| id.chars().rev().collect());
    let others = || {
        query
            .get("infohash")
            .or(query.get("url"))
            .or(query.get("magnet"))
    };
    by_id.or_else(|| others().map(str::to_owned))
}

fn urlencoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn stat(engine: &Engine, session: &str) -> Reply {
    engine.counts.stat.fetch_add(1, Ordering::Relaxed);
    let settings = engine.settings();
    let Some(session) = engine.sessions.get(session) else {
        return ok(UNKNOWN_SESSION);
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
        u64::from(settings.packets_per_s) * 188 / 1024,
    ) + &format!(
        r#""livepos":{{"pos":{live_last},"live_first":{},"live_last":{live_last},"first_ts":{},"last_ts":{last},"#,
        live_last.saturating_sub(1800),
        last.saturating_sub(1800),
    ) + r#""is_live":1,"buffer_pieces":15}},"error":null}"#;
    ok(body)
}

fn command(engine: &Engine, query: &Query, session: &str) -> Reply {
    if query.get("method") != Some("stop") {
        return failed("unknown method");
    }
    engine.counts.stop_calls.fetch_add(1, Ordering::Relaxed);
    if engine.sessions.stop(session) {
        return ok(r#"{"response":"ok","error":null}"#);
    }
    ok(UNKNOWN_SESSION)
}

fn set(engine: &Engine, query: &Query) -> Reply {
    let mut set = query.0.iter().map(|(name, value)| engine.set(name, value));
    match set.find_map(Result::err) {
        Some(error) => Answer::text(400, error).into(),
        None => ok("{}"),
    }
}

fn exit(query: &Query) -> Reply {
    let Some(code) = query.get("code").and_then(|code| code.parse().ok()) else {
        return Answer::text(400, "`code` is a number").into();
    };
    Reply::Stream(Box::new(move |stream, _| {
        // Whoever asked may be gone already.
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        say(&format!("ending with {code} as told"));
        process::exit(code)
    }))
}
