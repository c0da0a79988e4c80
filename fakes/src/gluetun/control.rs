//! The control server: who may ask what, and what is answered.

use std::time::Instant;

use super::State;
use super::admin::quoted;
use super::settings::{Auth, Fault, Settings, Version};
use super::tunnel::View;
use crate::http::{Answer, Reply, Request};

const OLD_PORT: &str = "/v1/openvpn/portforwarded";
const NEW_PORT: &str = "/v1/portforward";
/// Paths and methods that a role can name.
const ROUTES: [(&str, &[&str]); 15] = [
    ("/v1/version", &["GET"]),
    ("/v1/vpn/status", &["GET", "PUT"]),
    ("/v1/vpn/settings", &["GET", "PUT"]),
    ("/v1/openvpn/status", &["GET", "PUT"]),
    ("/v1/openvpn/settings", &["GET"]),
    (OLD_PORT, &["GET"]),
    (NEW_PORT, &["GET", "PUT"]),
    ("/v1/dns/status", &["GET", "PUT"]),
    ("/v1/updater/status", &["GET", "PUT"]),
    ("/v1/publicip/ip", &["GET"]),
    ("/openvpn/actions/restart", &["GET"]),
    ("/openvpn/portforwarded", &["GET"]),
    ("/openvpn/settings", &["GET"]),
    ("/unbound/actions/restart", &["GET"]),
    ("/updater/restart", &["GET"]),
];

pub(super) fn reply(state: &mut State, request: &Request) -> Reply {
    state.count(format!("{} {}", request.method, request.path()));
    let slow = match state.settings.fault {
        Fault::None => None,
        Fault::Slow => Some(state.settings.slow),
        fault => return failing(fault, &state.settings),
    };
    let mut answer = match denied(&state.settings, request) {
        Some(answer) => answer,
        None => answer(state, request),
    };
    answer.delay = slow.unwrap_or_default();
    answer.into()
}

/// The health server.
pub(super) fn health(state: &mut State) -> Reply {
    let State {
        settings, tunnel, ..
    } = state;
    match tunnel.health(Instant::now(), settings) {
        Ok(()) => Answer::text(200, ""),
        Err(why) => Answer::text(500, why),
    }
    .into()
}

fn failing(fault: Fault, settings: &Settings) -> Reply {
    match fault {
        Fault::Hang => Reply::Hang,
        Fault::Status => Answer::text(settings.fault_status, "as it was told").into(),
        Fault::Huge => Answer::json(200, format!("{{\"port\":1{}}}", " ".repeat(1 << 20))).into(),
        Fault::Garbage => Answer::text(200, "this is no JSON").into(),
        Fault::Cut => Answer {
            missing_bytes: 100,
            ..Answer::json(200, "{\"port\":")
        }
        .into(),
        Fault::RedirectAway => {
            Answer::redirect(301, format!("http://192.0.2.1:8000{NEW_PORT}")).into()
        }
        Fault::RedirectLoop => Answer::redirect(308, OLD_PORT).into(),
        Fault::None | Fault::Slow | Fault::Reset | Fault::Close => Reply::Close,
    }
}

/// What whoever may not ask is told; `None` when he may.
fn denied(settings: &Settings, request: &Request) -> Option<Answer> {
    // Before 3.39.1 there were no roles.
    if settings.version < Version::V3_40 {
        return None;
    }
    let path = request.path();
    let methods = methods(settings.version, path);
    if settings.version >= Version::V3_41_3 {
        match methods {
            None => return Some(Answer::text(404, "404 page not found")),
            Some(methods) if !methods.contains(&request.method.as_str()) => {
                return Some(Answer::text(405, "Method Not Allowed"));
            }
            Some(_) => {}
        }
    }
    let is_known = methods.is_some_and(|methods| methods.contains(&request.method.as_str()));
    match is_known && may(settings, request) {
        true => None,
        false => Some(unauthorized(settings)),
    }
}

fn unauthorized(settings: &Settings) -> Answer {
    let mut answer = Answer::text(401, "Unauthorized");
    if settings.auth == Auth::Basic {
        let realm = "Basic realm=\"restricted\", charset=\"UTF-8\"";
        answer.headers.push(("WWW-Authenticate", realm.into()));
    }
    answer
}

/// Methods of a path in this version.
fn methods(version: Version, path: &str) -> Option<&'static [&'static str]> {
    if path == NEW_PORT && version < Version::V3_41_1 {
        return None;
    }
    if path == NEW_PORT && version == Version::V3_41_1 {
        return Some(&["GET"]);
    }
    ROUTES
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, methods)| *methods)
}

fn may(settings: &Settings, request: &Request) -> bool {
    let route = format!("{} {}", request.method, request.path());
    if settings.auth == Auth::Default {
        let is_settings = request.path().ends_with("/settings") && route.contains("/v1/");
        return settings.version < Version::Head && !is_settings;
    }
    if !settings.routes.is_empty() && !settings.routes.contains(&route) {
        return false;
    }
    match settings.auth {
        Auth::Default | Auth::None => true,
        Auth::ApiKey => {
            let in_query = request
                .query()
                .into_iter()
                .any(|(name, value)| name == "api_key" && value == settings.key);
            in_query || request.header("x-api-key") == Some(&settings.key)
        }
        Auth::Basic => {
            let pair = format!("{}:{}", settings.user, settings.password);
            let expected = format!("Basic {}", base64(pair.as_bytes()));
            request.header("authorization") == Some(&expected)
        }
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let index = (word >> (18 - 6 * i)) & 0x3f;
            let digit = char::from(ALPHABET[index as usize]);
            text.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

fn answer(state: &mut State, request: &Request) -> Answer {
    let now = Instant::now();
    let view = state.tunnel.view(now, &state.settings);
    let version = state.settings.version;
    // Gluetun compares paths with their query, but for one prefix.
    let target = match request.path() {
        NEW_PORT if version >= Version::V3_41_1 => NEW_PORT,
        _ => &request.target,
    };
    match (request.method.as_str(), target) {
        ("GET", "/v1/version") => Answer::json(
            200,
            "{\"version\":\"fake\",\"commit\":\"0000000\",\"created\":\"an unknown date\"}",
        ),
        ("GET", "/v1/vpn/status") => status(&view.status),
        ("PUT", "/v1/vpn/status") => order(state, now, request),
        ("GET", "/v1/openvpn/status") if state.settings.vpn_type == "wireguard" => {
            status("stopped")
        }
        ("GET", "/v1/openvpn/status") => status(&view.status),
        ("PUT", "/v1/openvpn/status") => order(state, now, request),
        ("PUT", "/v1/vpn/settings") => Answer::text(200, "settings left unchanged"),
        ("GET", "/v1/vpn/settings" | "/v1/openvpn/settings") => {
            let vpn_type = quoted(&state.settings.vpn_type);
            Answer::json(200, format!("{{\"type\":{vpn_type}}}"))
        }
        ("GET", "/v1/dns/status") => status("running"),
        ("GET", "/v1/updater/status") => status("completed"),
        ("GET", "/v1/publicip/ip") => Answer::json(
            200,
            format!("{{\"public_ip\":{}}}", quoted(&view.public_ip)),
        ),
        ("GET", OLD_PORT) if version >= Version::V3_41_1 => Answer::redirect(301, NEW_PORT),
        ("GET", OLD_PORT) => ports(&view, &state.settings),
        ("GET", NEW_PORT) if version >= Version::V3_41_1 => ports(&view, &state.settings),
        ("PUT", NEW_PORT) if version == Version::Head => put_ports(state, request),
        ("GET", "/openvpn/portforwarded") => Answer::redirect(308, OLD_PORT),
        ("GET", "/openvpn/actions/restart") => {
            state.tunnel.restart(now, std::time::Duration::ZERO);
            Answer::text(200, "openvpn restart initiated, outcome: running")
        }
        _ => Answer::text(400, format!("route {} not supported", request.target)),
    }
}

fn status(status: &str) -> Answer {
    Answer::json(200, format!("{{\"status\":{}}}", quoted(status)))
}

fn ports(view: &View, settings: &Settings) -> Answer {
    let first = view.ports.first().copied().unwrap_or_default();
    let list: Vec<String> = view.ports.iter().map(u16::to_string).collect();
    let list = match list.is_empty() && settings.ports_null {
        true => "null".to_owned(),
        false => format!("[{}]", list.join(",")),
    };
    let json = match (settings.version >= Version::V3_41_3, view.ports.len()) {
        (true, _) => format!("{{\"port\":{first},\"ports\":{list}}}"),
        (false, 0 | 1) => format!("{{\"port\":{first}}}"),
        (false, _) => format!("{{\"ports\":{list}}}"),
    };
    Answer::json(200, json)
}

fn put_ports(state: &mut State, request: &Request) -> Answer {
    let body = String::from_utf8_lossy(&request.body);
    let compact: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let list = compact
        .strip_prefix("{\"ports\":[")
        .and_then(|rest| rest.strip_suffix("]}"));
    match list.map(|list| state.settings.set("ports", list)) {
        Some(Ok(())) => Answer::text(200, "ports set"),
        _ => Answer::text(400, "invalid ports"),
    }
}

fn order(state: &mut State, now: Instant, request: &Request) -> Answer {
    let body = String::from_utf8_lossy(&request.body);
    let compact: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let wanted = match compact.as_str() {
        "{\"status\":\"running\"}" => "running",
        "{\"status\":\"stopped\"}" => "stopped",
        _ => return Answer::text(400, "invalid status: possible values are: running, stopped"),
    };
    let outcome = state.tunnel.order(now, wanted);
    Answer::json(200, format!("{{\"outcome\":{}}}", quoted(outcome)))
}
