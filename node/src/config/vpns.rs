//! VPNs that engines may be behind, and how their control servers are asked.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;
use weir_control_plane::governance::secret::SecretRef;
use weir_core::tuning::is_name;
use weir_core::units::{format_duration, parse_duration};

use super::engines::read_ports;
use super::launch::read_host;
use super::name_rule;
use super::reader::{Problem, Section};

/// VPNs of one node.
const VPNS_MAX: usize = 16;

/// One VPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnSettings {
    /// Its name.
    pub name: String,
    /// Gluetun's control server, `http://host:port`.
    pub control_url: String,
    /// How Weir says who it is there.
    pub auth: VpnAuth,
    /// Its container, whose network engines join.
    pub container: Option<String>,
    /// Where engines behind it are reached.
    pub engine_host: String,
    /// Ports of engines behind it.
    pub ports: RangeInclusive<u16>,
    /// Whether it forwards a port.
    pub forwards_port: bool,
    /// Whether it tells of each new port itself, so that it need not be watched.
    pub tells_port: bool,
    /// Engines that may be behind it.
    pub engines_max: u32,
    /// After how long an outage its container is restarted, once; `None` for never.
    pub restart_after: Option<Duration>,
    /// Whether a tunnel that runs is healthy only with a public address.
    pub needs_public_ip: bool,
    /// Whether every engine behind it is replaced when it is back, not only the forwarded one.
    pub replace_on_reconnect: bool,
}

/// How Weir says who it is to a control server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VpnAuth {
    /// It does not.
    None,
    /// By a key in `X-API-Key`.
    ApiKey(SecretRef),
    /// By name and password.
    Basic(String, SecretRef),
}

pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Vec<VpnSettings> {
    let sections = root.sections(problems, "vpns");
    if sections.len() > VPNS_MAX {
        let what = format!("{} of them, at most {VPNS_MAX}", sections.len());
        root.problem(problems, "vpns", what);
    }
    let read = |(name, s): (String, Section)| read_vpn(&name, s, problems);
    sections.into_iter().map(read).collect()
}

fn read_vpn(name: &str, mut s: Section, problems: &mut Vec<Problem>) -> VpnSettings {
    if !is_name(name) {
        s.problem(problems, "name", name_rule(name));
    }
    let (control_url, host) = read_control_url(&mut s, problems);
    let container = s
        .text(problems, "container")
        .filter(|name| !name.is_empty());
    let restart_after = read_restart_after(&mut s, problems);
    if restart_after.is_some() && container.is_none() {
        s.problem(problems, "restart_after", "needs container");
    }
    let settings = VpnSettings {
        name: name.to_owned(),
        control_url,
        auth: read_auth(&mut s, problems),
        container,
        engine_host: read_host(&mut s, problems, "engine_host").unwrap_or(host),
        ports: read_ports(&mut s, problems, "ports", 19_000..=19_999),
        forwards_port: s.flag(problems, "forwards_port", true),
        tells_port: s.flag(problems, "tells_port", false),
        engines_max: u32::try_from(s.number(problems, "engines_max", 20, 1..=10_000))
            .unwrap_or(u32::MAX),
        restart_after,
        needs_public_ip: s.flag(problems, "needs_public_ip", true),
        replace_on_reconnect: s.flag(problems, "replace_on_reconnect", false),
    };
    s.finish(problems);
    settings
}

/// The control server and its host. Never tells where a name, a password or a key could be.
fn read_control_url(s: &mut Section, problems: &mut Vec<Problem>) -> (String, String) {
    if !s.has("control_url") {
        s.problem(problems, "control_url", "is required: http://host:port");
        return Default::default();
    }
    let Some(url) = s.text(problems, "control_url") else {
        return Default::default();
    };
    if let Some(host) = host_of(&url) {
        return (url, host);
    }
    let what = match url.contains(['@', '?']) {
        true if url.contains('@') => {
            "must hold no name or password; use user and password".to_owned()
        }
        true => "must be http://host:port without a query; use api_key".to_owned(),
        false => format!("`{url}` must be http://host:port"),
    };
    s.problem(problems, "control_url", what);
    Default::default()
}

fn read_restart_after(s: &mut Section, problems: &mut Vec<Problem>) -> Option<Duration> {
    if s.table.get("restart_after").and_then(toml::Value::as_str) == Some("off") {
        s.take("restart_after");
        return None;
    }
    let bounds = Duration::from_secs(1)..=Duration::from_secs(86_400);
    s.quantity(
        problems,
        "restart_after",
        bounds,
        (parse_duration, format_duration),
    )
}

/// The host of `http://host:port`.
fn host_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let bare = uri.path_and_query().is_none_or(|rest| rest == "/");
    let named = !url.contains('@') && uri.scheme_str() == Some("http") && uri.port_u16()? > 0;
    // An IPv6 address stands in brackets there and bare everywhere else.
    let host = uri.host()?.trim_matches(['[', ']']);
    (named && bare).then(|| host.to_owned())
}

/// Never tells a value: it may be the secret itself, written where its place belongs.
fn read_auth(s: &mut Section, problems: &mut Vec<Problem>) -> VpnAuth {
    let user = s.text(problems, "user");
    let [api_key, password] = ["api_key", "password"].map(|key| read_secret(s, problems, key));
    match (api_key, user, password) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            s.problem(problems, "api_key", "does not go with user and password");
            VpnAuth::None
        }
        (Some(key), None, None) => VpnAuth::ApiKey(key),
        (None, Some(user), Some(password)) => VpnAuth::Basic(user, password),
        (None, None, None) => VpnAuth::None,
        (None, Some(_), None) => {
            s.problem(problems, "user", "needs password");
            VpnAuth::None
        }
        (None, None, Some(_)) => {
            s.problem(problems, "password", "needs user");
            VpnAuth::None
        }
    }
}

pub(super) fn read_secret(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    key: &str,
) -> Option<SecretRef> {
    let value = s.take(key)?;
    let place = value.as_str().and_then(|text| text.parse().ok());
    if place.is_none() {
        s.problem(problems, key, "must be file:/path or env:NAME");
    }
    place
}
