//! What can be set.

use std::fmt;
use std::time::Duration;

use super::words::{
    AUTHS, FAULTS, FLAGS, NAMES, STATUSES, VERSIONS, VPN_TYPES, choice, list, millis, name_of,
    ports, word,
};

/// Which Gluetun it is; each answers differently to what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Before 3.39.1: no authentication, no `/v1/portforward`.
    V3_38,
    /// 3.39.1 to 3.40: authentication, no `/v1/portforward`.
    V3_40,
    /// 3.41.0 and 3.41.1: both routes, the old one a redirect.
    V3_41_1,
    /// 3.41.2 and 3.41.3: 404 and 405, both keys.
    V3_41_3,
    /// The newest: nothing without a role.
    Head,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No role is set: what the version does by itself.
    Default,
    /// A role without a credential.
    None,
    /// A role with user and password.
    Basic,
    /// A role with an API key.
    ApiKey,
}

/// What goes wrong at the control server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It takes requests and never answers.
    Hang,
    /// It answers after `slow_ms`.
    Slow,
    /// It resets connections.
    Reset,
    /// It closes connections without an answer.
    Close,
    /// It answers with `fault_status`.
    Status,
    /// It answers with more than anybody reads.
    Huge,
    /// It answers with something that is no JSON.
    Garbage,
    /// It breaks off in the body.
    Cut,
    /// It redirects to another server.
    RedirectAway,
    /// It redirects in circles.
    RedirectLoop,
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which Gluetun it is.
    pub version: Version,
    /// Who may ask.
    pub auth: Auth,
    /// For [`Auth::Basic`].
    pub user: String,
    /// For [`Auth::Basic`].
    pub password: String,
    /// For [`Auth::ApiKey`].
    pub key: String,
    /// Routes of the role, such as `GET /v1/portforward`; all when empty.
    pub routes: Vec<String>,
    /// Forwarded ports.
    pub ports: Vec<u16>,
    /// No ports are told as `null`, not as an empty list.
    pub ports_null: bool,
    /// Ports that take turns while `flap_every` is not zero.
    pub flap_ports: Vec<u16>,
    /// How long each of them lasts.
    pub flap_every: Duration,
    /// How long after the tunnel is there its port comes.
    pub port_delay: Duration,
    /// Where the tunnel ends.
    pub public_ip: String,
    /// What the tunnel does; anything but `running` has neither address nor port.
    pub status: String,
    /// `openvpn` or `wireguard`.
    pub vpn_type: String,
    /// What goes wrong.
    pub fault: Fault,
    /// For [`Fault::Status`].
    pub fault_status: u16,
    /// For [`Fault::Slow`].
    pub slow: Duration,
    /// How long after the start the health server has its first check.
    pub first_check: Duration,
    /// How much later than it happens the health server tells that the tunnel is down.
    pub report_lag: Duration,
    /// Run with each new port, without a shell; `{{PORTS}}`, `{{PORT}}`, `{{VPN_INTERFACE}}` stand for what it is told.
    pub up_command: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: Version::V3_41_3,
            auth: Auth::Default,
            user: "user".into(),
            password: "password".into(),
            key: "key".into(),
            routes: Vec::new(),
            ports: vec![5914],
            ports_null: false,
            flap_ports: Vec::new(),
            flap_every: Duration::ZERO,
            port_delay: Duration::ZERO,
            public_ip: "198.51.100.7".into(),
            status: "running".into(),
            vpn_type: "openvpn".into(),
            fault: Fault::None,
            fault_status: 500,
            slow: Duration::from_secs(1),
            first_check: Duration::ZERO,
            report_lag: Duration::ZERO,
            up_command: String::new(),
        }
    }
}

/// A setting that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    name: String,
    value: String,
    bound: String,
}

impl InvalidSetting {
    pub(super) fn new(name: &str, value: &str, bound: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            bound: bound.into(),
        }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=`{}`: expected {}", self.name, self.value, self.bound)
    }
}

impl std::error::Error for InvalidSetting {}

impl Settings {
    /// Changes one.
    ///
    /// # Errors
    /// When there is no such setting, or it does not take the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidSetting> {
        self.try_set(name, value)
            .map_err(|bound| InvalidSetting::new(name, value, bound))
    }

    fn try_set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "version" => self.version = choice(value, &VERSIONS)?,
            "auth" => self.auth = choice(value, &AUTHS)?,
            "user" => self.user = value.to_owned(),
            "password" => self.password = value.to_owned(),
            "key" => self.key = value.to_owned(),
            "routes" => self.routes = list(value).map(str::to_owned).collect(),
            "ports" => self.ports = ports(value)?,
            "ports_null" => self.ports_null = choice(value, &FLAGS)?,
            "flap_ports" => self.flap_ports = ports(value)?,
            "flap_every_ms" => self.flap_every = millis(value)?,
            "port_delay_ms" => self.port_delay = millis(value)?,
            "public_ip" => self.public_ip = value.to_owned(),
            "status" => self.status = word(value, &STATUSES)?,
            "vpn_type" => self.vpn_type = word(value, &VPN_TYPES)?,
            "fault" => self.fault = choice(value, &FAULTS)?,
            "fault_status" => {
                let status = value.parse().ok().filter(|s| (100..600).contains(s));
                self.fault_status = status.ok_or("a status from 100 to 599")?;
            }
            "slow_ms" => self.slow = millis(value)?,
            "first_check_ms" => self.first_check = millis(value)?,
            "report_lag_ms" => self.report_lag = millis(value)?,
            "up_command" => self.up_command = value.to_owned(),
            _ => return Err(format!("one of {}", NAMES.join(", "))),
        }
        Ok(())
    }

    /// Names and values, as they can be set.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let joined = |ports: &[u16]| {
            let texts: Vec<String> = ports.iter().map(u16::to_string).collect();
            texts.join(",")
        };
        let values = [
            name_of(self.version, &VERSIONS),
            name_of(self.auth, &AUTHS),
            self.user.clone(),
            self.password.clone(),
            self.key.clone(),
            self.routes.join(","),
            joined(&self.ports),
            self.ports_null.to_string(),
            joined(&self.flap_ports),
            ms(self.flap_every),
            ms(self.port_delay),
            self.public_ip.clone(),
            self.status.clone(),
            self.vpn_type.clone(),
            name_of(self.fault, &FAULTS),
            self.fault_status.to_string(),
            ms(self.slow),
            ms(self.first_check),
            ms(self.report_lag),
            self.up_command.clone(),
        ];
        NAMES.into_iter().zip(values).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_can_be_set() {
        let settings = Settings {
            version: Version::Head,
            auth: Auth::ApiKey,
            routes: vec!["GET /v1/version".into(), "GET /v1/portforward".into()],
            ports: vec![1, 2],
            fault: Fault::Cut,
            slow: Duration::from_millis(7),
            ..Settings::default()
        };
        let mut again = Settings::default();
        for (name, value) in settings.all() {
            again.set(name, &value).unwrap();
        }
        assert_eq!(again, settings);
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name_value_and_bound() {
        for (name, value, bound) in [
            (
                "version",
                "v9",
                "one of v3.38, v3.40, v3.41.1, v3.41.3, head",
            ),
            (
                "ports",
                "70000",
                "ports, separated by commas; empty for none",
            ),
            ("fault_status", "42", "a status from 100 to 599"),
        ] {
            let error = Settings::default().set(name, value).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{name}=`{value}`: expected {bound}")
            );
        }
        let error = Settings::default().set("port", "1").unwrap_err();
        assert!(error.to_string().contains("one of version"), "{error}");
    }
}
