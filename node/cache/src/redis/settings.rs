//! How Redis is reached and how long it may take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// How long one command may take, by default.
pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(50);
/// How long making a connection may take, by default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// How Redis is reached and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Settings {
    /// Which Redis.
    pub url: RedisUrl,
    /// How long a reader waits at most (knob `cache.redis_command_timeout`).
    pub command_timeout: Duration,
    /// How long making a connection may take, with its handshake (knob `cache.redis_connect_timeout`).
    pub connect_timeout: Duration,
    /// Memory of Redis, whatever is in it, beyond which nothing more is written (knob `cache.l2_bytes_max`).
    pub bytes_max: u64,
}

impl L2Settings {
    /// This Redis, with the usual deadlines.
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            command_timeout: COMMAND_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            bytes_max: u64::MAX,
        }
    }
}

/// Where a Redis is and who asks it; shows itself without the password.
#[derive(Clone)]
pub struct RedisUrl {
    text: String,
    info: ConnectionInfo,
}

/// Why a text is no [`RedisUrl`]. The text is not told: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It has another form.
    #[error("is not redis://[[user]:password@]host[:port][/database] or unix:///path")]
    Form,
    /// It asks for TLS.
    #[error("asks for TLS, which this node does not speak with Redis; use redis://")]
    Tls,
}

impl FromStr for RedisUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.starts_with("rediss:") || text.starts_with("valkeys:") {
            return Err(InvalidUrl::Tls);
        }
        let info = text
            .into_connection_info()
            .map_err(|_| InvalidUrl::Form)?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let text = text.to_owned();
        Ok(Self { text, info })
    }
}

impl RedisUrl {
    /// What the client needs to connect.
    pub(super) const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// A text that others wrote, without the password.
    pub(super) fn redact(&self, text: &str) -> String {
        match self.info.redis_settings().password() {
            Some(password) if !password.is_empty() => text.replace(password, "***"),
            _ => text.to_owned(),
        }
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RedisUrl {}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.info.addr();
        let (scheme, database_at) = match address {
            ConnectionAddr::Unix(_) => ("unix", "?db="),
            _ => ("redis", "/"),
        };
        write!(f, "{scheme}://{address}")?;
        match self.info.redis_settings().db() {
            0 => Ok(()),
            database => write!(f, "{database_at}{database}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        let url: RedisUrl = "redis://weir:hunter2@cache.internal:6380/3"
            .parse()
            .unwrap();
        let settings = L2Settings::new(url.clone());
        assert_eq!(url.to_string(), "redis://cache.internal:6380/3");
        assert!(!format!("{settings:?}").contains("hunter2"));
        for (url, shown) in [
            ("redis://:hunter2@cache", "redis://cache:6379"),
            (
                "unix:///run/redis.sock?pass=hunter2",
                "unix:///run/redis.sock",
            ),
            ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ] {
            assert_eq!(url.parse::<RedisUrl>().unwrap().to_string(), shown);
        }
        assert_eq!(url.redact("AUTH weir hunter2"), "AUTH weir ***");
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_told() {
        for (text, problem) in [
            ("rediss://:hunter2@cache", InvalidUrl::Tls),
            ("valkeys://:hunter2@cache", InvalidUrl::Tls),
            ("http://:hunter2@cache", InvalidUrl::Form),
            ("redis://:hunter2@", InvalidUrl::Form),
            ("redis://:hunter2@cache/first", InvalidUrl::Form),
            ("cache:6379", InvalidUrl::Form),
            ("", InvalidUrl::Form),
        ] {
            let refused = text.parse::<RedisUrl>().unwrap_err();
            assert_eq!(refused, problem, "{text}");
            assert!(!refused.to_string().contains("hunter2"));
        }
    }
}
