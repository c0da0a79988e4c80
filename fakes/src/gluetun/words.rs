//! How settings are written.

use std::time::Duration;

use super::settings::{Auth, Fault, Version};

pub(super) const VERSIONS: [(&str, Version); 5] = [
    ("v3.38", Version::V3_38),
    ("v3.40", Version::V3_40),
    ("v3.41.1", Version::V3_41_1),
    ("v3.41.3", Version::V3_41_3),
    ("head", Version::Head),
];
pub(super) const AUTHS: [(&str, Auth); 4] = [
    ("default", Auth::Default),
    ("none", Auth::None),
    ("basic", Auth::Basic),
    ("apikey", Auth::ApiKey),
];
pub(super) const FAULTS: [(&str, Fault); 11] = [
    ("none", Fault::None),
    ("hang", Fault::Hang),
    ("slow", Fault::Slow),
    ("reset", Fault::Reset),
    ("close", Fault::Close),
    ("status", Fault::Status),
    ("huge", Fault::Huge),
    ("garbage", Fault::Garbage),
    ("cut", Fault::Cut),
    ("redirect_away", Fault::RedirectAway),
    ("redirect_loop", Fault::RedirectLoop),
];
pub(super) const FLAGS: [(&str, bool); 2] = [("false", false), ("true", true)];
/// What a tunnel may do.
pub(super) const STATUSES: [&str; 6] = [
    "running",
    "starting",
    "stopping",
    "stopped",
    "crashed",
    "completed",
];
pub(super) const VPN_TYPES: [&str; 2] = ["openvpn", "wireguard"];
/// Every setting, as it is named.
pub(super) const NAMES: [&str; 20] = [
    "version",
    "auth",
    "user",
    "password",
    "key",
    "routes",
    "ports",
    "ports_null",
    "flap_ports",
    "flap_every_ms",
    "port_delay_ms",
    "public_ip",
    "status",
    "vpn_type",
    "fault",
    "fault_status",
    "slow_ms",
    "first_check_ms",
    "report_lag_ms",
    "up_command",
];

pub(super) fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

pub(super) fn name_of<T: PartialEq>(value: T, choices: &[(&str, T)]) -> String {
    let found = choices.iter().find(|(_, choice)| *choice == value);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

pub(super) fn word(value: &str, words: &[&str]) -> Result<String, String> {
    match words.contains(&value) {
        true => Ok(value.to_owned()),
        false => Err(format!("one of {}", words.join(", "))),
    }
}

pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

pub(super) fn ports(value: &str) -> Result<Vec<u16>, String> {
    let parsed: Result<Vec<u16>, _> = list(value).map(str::parse).collect();
    parsed.map_err(|_| "ports, separated by commas; empty for none".to_owned())
}

pub(super) fn millis(value: &str) -> Result<Duration, String> {
    const DAY_MS: u64 = 86_400_000;
    let parsed = value.parse().ok().filter(|ms| *ms <= DAY_MS);
    parsed
        .map(Duration::from_millis)
        .ok_or_else(|| "milliseconds, at most those of a day".to_owned())
}
