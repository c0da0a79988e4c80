//! What an engine is told: how to run, and how to misbehave.

/// How an engine behaves. Each has a flag `--fake-NAME=VALUE` and a parameter of `/admin/set`, by these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds after its start in which it says `NOTREADY`.
    pub not_ready_ms: u64,
    /// Milliseconds from a session's begin to its first byte.
    pub prebuffer_ms: u64,
    /// Milliseconds that each answer of `get_status` takes.
    pub status_delay_ms: u64,
    /// The same while something plays.
    pub status_delay_streaming_ms: u64,
    /// `get_status` never answers.
    pub status_hangs: bool,
    /// A second player of a stream ends the first one.
    pub one_player: bool,
    /// New streams are refused with this error, and status 200.
    pub refuse: String,
    /// Packets of 188 bytes a second for each reader.
    pub packets_per_s: u32,
    /// Streams stay open and send nothing.
    pub stall: bool,
    /// Streams end.
    pub eof: bool,
    /// Seconds that `live_last` is behind `last_ts`: a loop, when many.
    pub live_lag_s: u64,
    /// Peers that statistics tell.
    pub peers: u64,
    /// `speedDown` in place of `speed_down`.
    pub camel_case: bool,
    /// Whether it says that it is connected.
    pub connected: bool,
    /// `HOST:PORT/PATH` that it gets once at its start and writes the status of.
    pub visit: String,
    /// It ends with this code in place of starting.
    pub exit_at_once: Option<u8>,
    /// Milliseconds before it does so.
    pub exit_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            not_ready_ms: 0,
            prebuffer_ms: 0,
            status_delay_ms: 0,
            status_delay_streaming_ms: 0,
            status_hangs: false,
            one_player: true,
            refuse: String::new(),
            packets_per_s: 2000,
            stall: false,
            eof: false,
            live_lag_s: 0,
            peers: 7,
            camel_case: false,
            connected: true,
            visit: String::new(),
            exit_at_once: None,
            exit_after_ms: 0,
        }
    }
}

impl Settings {
    /// Sets one by its name; `-` is as good as `_`.
    ///
    /// # Errors
    /// An unknown name, or a value that it cannot have.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name.replace('-', "_").as_str() {
            "not_ready_ms" => parse(name, value, &mut self.not_ready_ms),
            "prebuffer_ms" => parse(name, value, &mut self.prebuffer_ms),
            "status_delay_ms" => parse(name, value, &mut self.status_delay_ms),
            "status_delay_streaming_ms" => parse(name, value, &mut self.status_delay_streaming_ms),
            "status_hangs" => parse(name, value, &mut self.status_hangs),
            "one_player" => parse(name, value, &mut self.one_player),
            "refuse" => parse(name, value, &mut self.refuse),
            "packets_per_s" => parse(name, value, &mut self.packets_per_s),
            "stall" => parse(name, value, &mut self.stall),
            "eof" => parse(name, value, &mut self.eof),
            "live_lag_s" => parse(name, value, &mut self.live_lag_s),
            "peers" => parse(name, value, &mut self.peers),
            "camel_case" => parse(name, value, &mut self.camel_case),
            "connected" => parse(name, value, &mut self.connected),
            "visit" => parse(name, value, &mut self.visit),
            "exit_at_once" => {
                let mut code = 0;
                parse(name, value, &mut code)?;
                self.exit_at_once = Some(code);
                Ok(())
            }
            "exit_after_ms" => parse(name, value, &mut self.exit_after_ms),
            _ => Err(format!("no setting is called `{name}`")),
        }
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str, into: &mut T) -> Result<(), String> {
    *into = value
        .parse()
        .map_err(|_| format!("`{name}` cannot be `{value}`"))?;
    Ok(())
}

/// How an engine is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Of its HTTP API; 0 for any.
    pub http_port: u16,
    /// That it tells its peers.
    pub p2p_port: Option<u16>,
    /// For HTTPS and the API; only listened on.
    pub more_ports: Vec<u16>,
    /// On all addresses, not only loopback.
    pub bind_all: bool,
    /// How it behaves.
    pub settings: Settings,
}

impl Options {
    /// From weakest to strongest: variables, `CONF`, arguments.
    ///
    /// # Errors
    /// A value that a flag cannot have.
    pub fn of(arguments: &[String], environment: &[(String, String)]) -> Result<Self, String> {
        let mut options = Self {
            http_port: 6878,
            more_ports: Vec::new(),
            p2p_port: None,
            bind_all: false,
            settings: Settings::default(),
        };
        let mut conf = Vec::new();
        for (name, value) in environment {
            match name.as_str() {
                "HTTP_PORT" => parse(name, value, &mut options.http_port)?,
                "HTTPS_PORT" | "API_PORT" => options.more_ports.push(port(name, value)?),
                "P2P_PORT" => options.p2p_port = Some(port(name, value)?),
                "BIND_ALL" => options.bind_all = value == "true",
                "CONF" => conf = value.split_whitespace().map(str::to_owned).collect(),
                _ => {}
            }
        }
        options.take(&conf)?;
        options.take(arguments)?;
        Ok(options)
    }

    /// `--name=value` and `--name value`.
    fn take(&mut self, arguments: &[String]) -> Result<(), String> {
        let mut arguments = arguments.iter().peekable();
        while let Some(argument) = arguments.next() {
            let (name, given) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                let next = || arguments.next().map(String::as_str);
                given
                    .or_else(next)
                    .ok_or_else(|| format!("`{name}` needs a value"))
            };
            match name {
                "--http-port" => parse(name, value()?, &mut self.http_port)?,
                "--https-port" | "--api-port" => {
                    let port = port(name, value()?)?;
                    self.more_ports.retain(|known| *known != port);
                    self.more_ports.push(port);
                }
                "--port" => self.p2p_port = Some(port(name, value()?)?),
                "--bind-all" => self.bind_all = true,
                _ => {
                    if let Some(setting) = name.strip_prefix("--fake-") {
                        self.settings.set(setting, value()?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn port(name: &str, value: &str) -> Result<u16, String> {
    let mut port = 0;
    parse(name, value, &mut port)?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn of(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Options, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Options::of(&arguments, &environment)
    }

    #[test]
    fn flags_win_over_conf_over_variables() {
        let environment = [
            ("HTTP_PORT", "1"),
            ("P2P_PORT", "1"),
            ("CONF", "--http-port=2\n--port=2\n--bind-all"),
        ];
        let options = of(&["--http-port", "3", "--cache-dir=/x"], &environment).unwrap();
        assert_eq!(
            (options.http_port, options.p2p_port, options.bind_all),
            (3, Some(2), true)
        );
    }

    #[test]
    fn settings_are_flags_too_and_wrong_ones_are_told() {
        let options = of(&["--fake-not-ready-ms=5", "--fake-one-player=false"], &[]).unwrap();
        assert_eq!(
            (options.settings.not_ready_ms, options.settings.one_player),
            (5, false)
        );
        assert_eq!(
            of(&["--fake-nothing=1"], &[]).unwrap_err(),
            "no setting is called `nothing`"
        );
        assert_eq!(
            of(&["--port=x"], &[]).unwrap_err(),
            "`--port` cannot be `x`"
        );
    }
}
