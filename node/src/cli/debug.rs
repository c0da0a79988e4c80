//! `weir debug`: what a running node does, from its HTTP API.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use weir_core::units::{format_bytes, parse_bytes};

use super::control::read_secret;
use super::output::{Failure, Format, note, print, print_json, table};
use super::{block_on, http as api};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Beside the time of a profile: a node may need `telemetry.dependency_timeout` for its names.
const NAMES_TIMEOUT: Duration = Duration::from_secs(40);

/// Look into a running node: where its time goes, its heap, its actors and tasks
///
/// Nothing is answered without the token of the node's `[debug] token`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir debug cpu --seconds 10 --file cpu.svg --token-file debug.token\n  \
    weir debug actors --token-file debug.token"
)]
pub(super) struct Debug {
    /// The node's HTTP API.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:7480",
        global = true
    )]
    node: String,
    /// The token.
    #[arg(long, env = "WEIR_DEBUG_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// A file that holds the token; wins over --token.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text, global = true)]
    output: Format,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Sample where processors' time goes, and write a flame graph or a profile for pprof
    ///
    /// What the node reads of its binary to name calls is given back. From the first profile on it keeps the sampler's
    /// table of stacks, some 65 MiB.
    #[command(
        after_help = "Example:\n  weir debug cpu --seconds 10 --file cpu.svg\n  \
        weir debug cpu --format pprof --file cpu.pb"
    )]
    Cpu {
        /// How long.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// What to write.
        #[arg(long, value_enum, default_value_t = Form::Svg)]
        format: Form,
        /// Where to.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show how much memory the node has, and for what
    #[command(after_help = "Example:\n  weir debug heap -o json")]
    Heap,
    /// Sample who allocates memory, and write a flame graph or a profile for pprof
    #[command(
        after_help = "Example:\n  weir debug heap-profile --seconds 10 --show allocated --file heap.svg\n  \
        weir debug heap-profile --format pprof --file heap.pb"
    )]
    HeapProfile {
        /// How long; without it, all since the start, if telemetry.heap_sample_interval has it sampled.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: Option<u64>,
        /// Bytes between two samples, such as 512KiB; more tell less and cost less.
        #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
        interval: Option<u64>,
        /// What a flame graph shows; a profile for pprof has both.
        #[arg(long, value_enum, default_value_t = Show::InUse)]
        show: Show,
        /// What to write.
        #[arg(long, value_enum, default_value_t = Form::Svg)]
        format: Form,
        /// Where to.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show each actor: what waits for it, for how long, how often it was started again
    #[command(after_help = "Example:\n  weir debug actors")]
    Actors,
    /// Show the tasks of each runtime and how busy it was
    #[command(after_help = "Example:\n  weir debug tasks")]
    Tasks,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// A flame graph.
    Svg,
    /// A profile for `go tool pprof` and viewers.
    Pprof,
}

#[derive(Clone, Copy, ValueEnum)]
enum Show {
    /// Bytes that are still in use at the end.
    InUse,
    /// All bytes that were allocated.
    Allocated,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pprof => "pprof",
        }
    }
}

impl Show {
    fn name(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Allocated => "allocated",
        }
    }
}

impl Debug {
    pub(super) fn run(self) -> Result<(), Failure> {
        let token = match &self.token_file {
            Some(path) => Some(read_secret("--token-file", path)?.trim().to_owned()),
            None => self.token.clone(),
        };
        block_on(async move {
            let ask = async |path: &str, within| {
                let answer = api::get(&self.node, path, token.as_deref(), within).await?;
                refused(answer)
            };
            match &self.action {
                Action::Cpu {
                    seconds,
                    format,
                    file,
                } => {
                    let format = format.name();
                    let path = format!("/debug/profile/cpu?seconds={seconds}&format={format}");
                    let within = Duration::from_secs(*seconds) + NAMES_TIMEOUT;
                    save(file, &ask(&path, within).await?)
                }
                Action::HeapProfile {
                    seconds,
                    interval,
                    show,
                    format,
                    file,
                } => {
                    let (format, show) = (format.name(), show.name());
                    let optional =
                        [("seconds", seconds), ("interval", interval)].map(|(key, value)| {
                            value.map_or_else(String::new, |value| format!("&{key}={value}"))
                        });
                    let path = format!(
                        "/debug/heap/profile?format={format}&show={show}{}",
                        optional.concat()
                    );
                    let within = Duration::from_secs(seconds.unwrap_or(0)) + NAMES_TIMEOUT;
                    save(file, &ask(&path, within).await?)
                }
                Action::Heap => show(&ask("/debug/heap", ANSWER_TIMEOUT).await?, self.output),
                Action::Actors => show(&ask("/debug/actors", ANSWER_TIMEOUT).await?, self.output),
                Action::Tasks => show(&ask("/debug/tasks", ANSWER_TIMEOUT).await?, self.output),
            }
        })
    }
}

fn save(file: &Path, profile: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, profile).map_err(|error| {
        Failure::Other(format!("{} cannot be written: {error}", file.display()))
    })?;
    note(&format!("{} is written", file.display()));
    Ok(())
}

/// The body of an answer that is none of a refusal.
fn refused(answer: api::Answer) -> Result<bytes::Bytes, Failure> {
    if answer.status == StatusCode::OK {
        return Ok(answer.body);
    }
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = told["message"]
        .as_str()
        .unwrap_or("it is no HTTP API of a node");
    Err(match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let hint = format!("{message} (--token-file or WEIR_DEBUG_TOKEN)");
            Failure::Refused(tonic::Status::permission_denied(hint))
        }
        status => Failure::Other(format!("{status}: {message}")),
    })
}

fn show(body: &[u8], format: Format) -> Result<(), Failure> {
    let told: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::Other(format!("what answers is no node: {error}")))?;
    if format == Format::Json {
        return print_json(&told);
    }
    match serde_json::from_slice::<Vec<Fields>>(body) {
        Ok(rows) => print(&table(&columns(&rows))),
        Err(_) => print(&table(&pairs("", &told))),
    }
}

/// An object with its fields in the order in which it was told.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(told: D) -> Result<Self, D::Error> {
        told.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Fields;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

/// One row for each object, with the keys of the first as heading.
fn columns(objects: &[Fields]) -> Vec<Vec<String>> {
    let first = objects.first().map_or(&[][..], |first| first.0.as_slice());
    let mut rows = vec![first.iter().map(|(key, _)| key.to_uppercase()).collect()];
    rows.extend(objects.iter().map(|Fields(fields)| {
        let cells = first.iter().map(|(key, _)| {
            let found = fields.iter().find(|(name, _)| name == key);
            cell(key, found.map_or(&Value::Null, |(_, value)| value))
        });
        cells.collect::<Vec<String>>()
    }));
    rows
}

/// One row for each value, those of objects within by `outer.inner`.
fn pairs(above: &str, told: &Value) -> Vec<Vec<String>> {
    let Some(object) = told.as_object() else {
        return Vec::new();
    };
    let rows = object.iter().map(|(key, value)| match value {
        Value::Object(_) => pairs(&format!("{key}."), value),
        value => vec![vec![format!("{above}{key}"), cell(key, value)]],
    });
    rows.flatten().collect()
}

fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if key.ends_with("_bytes") => number
            .as_u64()
            .map_or_else(|| number.to_string(), format_bytes),
        Value::Number(number) if number.is_f64() => {
            format!("{:.2}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_is_shown_in_columns_of_its_order_and_pairs() {
        let actors = r#"[{ "name": "a", "depth": 1 }, { "depth": null, "name": "b" }]"#;
        let rows = columns(&serde_json::from_str::<Vec<Fields>>(actors).unwrap());
        assert_eq!(rows, [["NAME", "DEPTH"], ["a", "1"], ["b", "-"]]);
        let heap =
            serde_json::json!({ "resident_bytes": 2_048, "accounted": { "cache_bytes": 0 } });
        let rows = pairs("", &heap);
        assert!(
            rows.contains(&vec!["resident_bytes".to_owned(), "2KiB".to_owned()]),
            "{rows:?}"
        );
        assert!(
            rows.iter().any(|row| row[0] == "accounted.cache_bytes"),
            "{rows:?}"
        );
    }
}
