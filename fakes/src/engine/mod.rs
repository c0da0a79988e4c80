//! An engine as AceStream's is: its HTTP API, its rules for players, and its faults as far as they can be switched.
//!
//! | it | how |
//! |---|---|
//! | ports | `--http-port`, `--https-port`, `--api-port`, `--port` (P2P) |
//! | flags | `--bind-all`, `--fake-NAME=VALUE` for each of [`settings::Settings`] |
//! | other flags | are let be, as engines have many |
//! | environment | `CONF` (flags, one a line), `HTTP_PORT` and so on, `BIND_ALL`; flags win |
//! | `/admin/state` | everything that it knows, as JSON |
//! | `/admin/set?NAME=VALUE` | changes settings while it runs |
//! | `/admin/exit?code=N` | it ends at once |
//! | `/admin/say?line=TEXT` | writes a line |

mod api;
mod json;
mod playback;
mod sessions;
pub mod settings;
mod state;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use self::settings::Options;
use self::state::Engine;
use crate::get;
use crate::http::{Request, Server};

const CANNOT_LISTEN: u8 = 98;
const VISITS_MAX: usize = 100;
const VISIT_AGAIN: Duration = Duration::from_millis(50);
const WRONG_USE: u8 = 2;

/// Runs until it is told to end.
#[must_use]
pub fn run(arguments: Vec<String>, environment: Vec<(String, String)>) -> ExitCode {
    let options = match Options::of(&arguments, &environment) {
        Ok(options) => options,
        Err(error) => return ended(WRONG_USE, &error),
    };
    if let Some(code) = options.settings.exit_at_once {
        thread::sleep(Duration::from_millis(options.settings.exit_after_ms));
        return ended(code, &format!("ending with {code} as told"));
    }
    let ip = if options.bind_all {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    let listener = match TcpListener::bind((ip, options.http_port)) {
        Ok(listener) => listener,
        Err(error) => {
            return ended(
                CANNOT_LISTEN,
                &format!("http port {}: {error}", options.http_port),
            );
        }
    };
    let http_port = listener
        .local_addr()
        .map_or(options.http_port, |address| address.port());
    let mut more = Vec::new();
    for port in &options.more_ports {
        match TcpListener::bind((ip, *port)) {
            Ok(listener) => more.push(listener),
            Err(error) => return ended(CANNOT_LISTEN, &format!("port {port}: {error}")),
        }
    }
    let p2p = options.p2p_port.map(|port| TcpListener::bind((ip, port)));
    say(&format!("listening on {ip}:{http_port}"));
    let visit = options.settings.visit.clone();
    if !visit.is_empty() {
        thread::spawn(move || say(&visited(&visit)));
    }
    let bound = p2p.as_ref().is_some_and(Result::is_ok);
    let engine = Arc::new(Engine::new(
        options,
        http_port,
        bound,
        arguments,
        environment,
    ));
    match Server::start(
        listener,
        Arc::new(move |request: &Request| api::reply(&engine, request)),
    ) {
        Ok(_server) => loop {
            thread::park();
        },
        Err(error) => ended(CANNOT_LISTEN, &error.to_string()),
    }
}

/// Whom it reaches, for whoever cannot reach it and only reads its log.
fn visited(target: &str) -> String {
    for _ in 0..VISITS_MAX {
        if let Ok(answer) = get(target) {
            let status = answer.lines().next().unwrap_or_default();
            return format!("visited {target}: {status}");
        }
        thread::sleep(VISIT_AGAIN);
    }
    format!("visited {target}: nobody there")
}

fn ended(code: u8, why: &str) -> ExitCode {
    say(why);
    code.into()
}

/// A line of its log.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
