//! How one engine of a service is started.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::provision::words::unknown;
use weir_core::units::{format_bytes, parse_bytes};
use weir_engines::driver::Network;

use super::engine_defaults::ONLY_OF_CONTAINERS;
use super::engines::{HOUR, MS, port, time};
use super::reader::{Problem, Section};

/// Texts of a command, variables of an environment, labels.
const ITEMS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 32 << 10;
const VPNS_MAX: usize = 16;
/// Words in braces that stand for what each engine gets, beside those of its further ports.
const WORDS: [&str; 5] = ["port", "p2p_port", "id", "service", "vpn"];
const EXTRA_PORTS_MAX: usize = 4;
const EXTRA_NAME_CHARS_MAX: usize = 16;

/// What runs the engines of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriverKind {
    /// Processes on this machine.
    Process,
    /// Containers of this machine's Docker.
    Docker,
}

impl DriverKind {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
}

/// How one engine is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What runs it.
    pub driver: DriverKind,
    /// A container's image.
    pub image: String,
    /// Program and arguments, or what follows a container's entry point. `{port}`, `{port.NAME}`, `{p2p_port}`, `{id}`,
    /// `{service}` and `{vpn}` stand for what each engine gets; `{{port}}` stands for the text `{port}`.
    pub command: Vec<String>,
    /// Its environment, with the same words in braces.
    pub env: BTreeMap<String, String>,
    /// Labels of its container.
    pub labels: BTreeMap<String, String>,
    /// Its network; behind a VPN it is that of the VPN's container.
    pub network: Network,
    /// Where it is reached when it is not behind a VPN.
    pub host: String,
    /// The port inside of its container, when it is not the one outside.
    pub container_port: Option<u16>,
    /// What it needs ports for beside the one that it serves on; `{port.NAME}` stands for each.
    pub extra_ports: Vec<String>,
    /// VPNs to choose from; none for engines that need none.
    pub vpns: Vec<String>,
    /// Memory of its container, bytes.
    pub memory_bytes_max: Option<u64>,
    /// Thousandths of a core for its container.
    pub cpu_millis_max: Option<u32>,
    /// Until it runs.
    pub start_timeout: Duration,
    /// Between being asked to end and being ended.
    pub stop_timeout: Duration,
}

/// Whether everything that an engine needs must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    No,
}

pub(super) fn read_launch(s: &mut Section, problems: &mut Vec<Problem>, whole: Whole) -> Launch {
    let only_of_containers = ONLY_OF_CONTAINERS.map(|key| (key, s.has(key)));
    let image = s.text(problems, "image").unwrap_or_default();
    let driver = match whole {
        Whole::No if !s.has("driver") => DriverKind::Docker,
        _ => read_driver(s, problems, &image),
    };
    let command = read_command(s, problems);
    if whole == Whole::Yes {
        check_needs(s, problems, driver, &image, &command);
    }
    if driver == DriverKind::Process {
        refuse_containers_keys(s, problems, only_of_containers);
    }
    bounded(s, problems, "command", command.iter());
    let env = read_map(s, problems, "env");
    let extra_ports = read_extra_ports(s, problems);
    check_words(s, problems, (&command, &env), &extra_ports, whole);
    Launch {
        driver,
        image,
        command,
        vpns: read_vpns(s, problems),
        env,
        labels: read_map(s, problems, "labels"),
        network: read_network(s, problems),
        host: read_host(s, problems, "host").unwrap_or_else(|| "127.0.0.1".to_owned()),
        container_port: s
            .whole_number(problems, "container_port", 1..=65_535)
            .map(port),
        extra_ports,
        memory_bytes_max: s.quantity(
            problems,
            "memory",
            1 << 20..=1 << 40,
            (parse_bytes, format_bytes),
        ),
        cpu_millis_max: read_cpus(s, problems),
        start_timeout: time(s, problems, "start_timeout", 25_000, 100 * MS..=HOUR),
        stop_timeout: time(s, problems, "stop_timeout", 10_000, MS..=HOUR),
    }
}

/// A text stands for a list of one, which is no command when it holds several words.
fn read_command(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<String> {
    let is_text = s.table.get("command").is_some_and(toml::Value::is_str);
    let command = s.texts(problems, "command");
    if let [text] = command.as_slice()
        && is_text
        && text.contains(char::is_whitespace)
    {
        let words: Vec<String> = text.split_whitespace().map(|w| format!("{w:?}")).collect();
        let what = format!("`{text}` is no list; expected [{}]", words.join(", "));
        s.problem(problems, "command", what);
    }
    command
}

/// Tells each word in braces that stands for nothing. What holds for all services cannot know their further ports.
fn check_words(
    s: &Section,
    problems: &mut Vec<Problem>,
    (command, env): (&[String], &BTreeMap<String, String>),
    extra_ports: &[String],
    whole: Whole,
) {
    let is_known = |word: &str| match word.strip_prefix("port.") {
        Some(name) => whole == Whole::No || extra_ports.iter().any(|port| port == name),
        None => WORDS.contains(&word),
    };
    let arguments = command.iter().enumerate();
    let arguments = arguments.map(|(at, text)| (format!("command[{at}]"), text));
    let variables = env.iter().map(|(name, text)| (format!("env.{name}"), text));
    for (key, text) in arguments.chain(variables) {
        let Some(word) = unknown(text, is_known) else {
            continue;
        };
        let ports = extra_ports.iter().map(|name| format!("port.{name}"));
        let known: Vec<String> = WORDS.map(str::to_owned).into_iter().chain(ports).collect();
        let what = format!(
            "`{{{word}}}` stands for nothing; allowed: {{{}}}; for the text itself `{{{{{word}}}}}`",
            known.join("}, {")
        );
        s.problem(problems, &key, what);
    }
}

/// Tells what an engine cannot be started without.
fn check_needs(
    s: &Section,
    problems: &mut Vec<Problem>,
    driver: DriverKind,
    image: &str,
    command: &[String],
) {
    match driver {
        DriverKind::Docker if image.is_empty() => {
            s.problem(problems, "image", "is required for driver docker");
        }
        DriverKind::Process if command.first().is_none_or(String::is_empty) => {
            s.problem(problems, "command", "is required for driver process");
        }
        _ => {}
    }
}

/// Tells each key that is there and that a process cannot follow.
fn refuse_containers_keys<const N: usize>(
    s: &Section,
    problems: &mut Vec<Problem>,
    said: [(&str, bool); N],
) {
    for (key, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
        let what = "is only for containers; leave it out or use driver docker";
        s.problem(problems, key, what);
    }
}

/// Names of further ports: each is part of a label, of a word in braces and of a variable.
fn read_extra_ports(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<String> {
    let names = s.texts(problems, "extra_ports");
    if names.len() > EXTRA_PORTS_MAX {
        let what = format!("{} of them, at most {EXTRA_PORTS_MAX}", names.len());
        s.problem(problems, "extra_ports", what);
    }
    for (at, name) in names.iter().enumerate() {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let what = if names[..at].contains(name) {
            format!("`{name}` is there twice")
        } else if ["http", "p2p"].contains(&name.as_str()) {
            format!("`{name}` is a port that every engine has")
        } else if !(1..=EXTRA_NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(fits) {
            format!("`{name}` is not 1 to {EXTRA_NAME_CHARS_MAX} of a-z 0-9 _")
        } else {
            continue;
        };
        s.problem(problems, &format!("extra_ports[{at}]"), what);
    }
    names
}

fn read_vpns(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<String> {
    let vpns = s.texts(problems, "vpns");
    if vpns.len() > VPNS_MAX {
        let what = format!("{} of them, at most {VPNS_MAX}", vpns.len());
        s.problem(problems, "vpns", what);
    }
    for (at, name) in vpns.iter().enumerate() {
        if vpns[..at].contains(name) {
            s.problem(
                problems,
                &format!("vpns[{at}]"),
                format!("`{name}` is there twice"),
            );
        }
    }
    vpns
}

/// A host that engines are reached at.
pub(super) fn read_host(s: &mut Section, problems: &mut Vec<Problem>, key: &str) -> Option<String> {
    let host = s.text(problems, key)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@[]?#".contains(c);
    // A colon is part of an IPv6 address alone.
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if host.is_empty() || (host.contains(':') && !is_address) || host.contains(odd) {
        s.problem(
            problems,
            key,
            format!("`{host}` is no host name or address, without port"),
        );
    }
    Some(host)
}

fn read_driver(s: &mut Section, problems: &mut Vec<Problem>, image: &str) -> DriverKind {
    match s.text(problems, "driver").as_deref() {
        None if image.is_empty() => DriverKind::Process,
        None | Some("docker") => DriverKind::Docker,
        Some("process") => DriverKind::Process,
        Some(other) => {
            s.problem(
                problems,
                "driver",
                format!("`{other}` is none of process, docker"),
            );
            DriverKind::Process
        }
    }
}

fn read_network(s: &mut Section, problems: &mut Vec<Problem>) -> Network {
    let Some(text) = s.text(problems, "network") else {
        return Network::Default;
    };
    match text.split_once(':') {
        None if text == "host" => Network::Host,
        None if text == "none" => Network::None,
        None if text == "default" => Network::Default,
        None if !text.is_empty() => Network::Named(text),
        Some(("container", name)) if !name.is_empty() => Network::Container(name.to_owned()),
        _ => {
            let what = format!("`{text}` is none of default, host, none, NAME, container:NAME");
            s.problem(problems, "network", what);
            Network::Default
        }
    }
}

fn read_cpus(s: &mut Section, problems: &mut Vec<Problem>) -> Option<u32> {
    let text = match s.take("cpus")? {
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    match text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within bounds"
        )]
        Ok(cpus) if (0.01..=1024.0).contains(&cpus) => Some((cpus * 1_000.0).round() as u32),
        _ => {
            s.problem(
                problems,
                "cpus",
                format!("`{text}` is out of bounds (0.01 to 1024)"),
            );
            None
        }
    }
}

fn read_map(s: &mut Section, problems: &mut Vec<Problem>, key: &str) -> BTreeMap<String, String> {
    let texts = s.section(problems, key).into_texts(problems);
    bounded(s, problems, key, texts.iter().map(|(_, text)| text));
    texts.into_iter().collect()
}

fn bounded<'a>(
    s: &Section,
    problems: &mut Vec<Problem>,
    key: &str,
    texts: impl Iterator<Item = &'a String>,
) {
    let (mut texts_count, mut bytes) = (0, 0);
    for text in texts {
        texts_count += 1;
        bytes += text.len();
    }
    if texts_count > ITEMS_MAX || bytes > TEXT_BYTES_MAX {
        let bound = format_bytes(TEXT_BYTES_MAX as u64);
        let what = format!(
            "{texts_count} texts of {bytes} bytes, at most {ITEMS_MAX} of {bound} together"
        );
        s.problem(problems, key, what);
    }
}
