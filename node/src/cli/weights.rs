//! `weir weights`: each backend's share of new work, on every node.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use weir_proto::control::v1 as pb;

use super::block_on;
use super::control::text::{moment, or_dash, rfc3339};
use super::control::{ControlPlane, Signature, Target};
use super::output::{Failure, Format, print, print_json, table};
use super::weights_known::Known;

/// Set backends' shares of new work on every node
///
/// What is set here wins over the weights of nodes' files. A backend that is not named keeps its own weight.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir weights\n  weir weights set web 127.0.0.1:9001=5 127.0.0.1:9002=0 \
    -m \"canary\""
)]
pub(super) struct Weights {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every service that has weights (the default)
    #[command(after_help = "Example:\n  weir weights list -o json")]
    List,
    /// Show the weights of one service
    #[command(after_help = "Example:\n  weir weights get web")]
    Get {
        /// The service's name.
        service: String,
    },
    /// Set weights of one service
    #[command(after_help = "Example:\n  weir weights set web 127.0.0.1:9001=5 -m \"canary\"")]
    Set {
        /// The service's name.
        service: String,
        /// Backends and weights, 0 (no new work) to 65535.
        #[arg(required = true, value_name = "BACKEND=WEIGHT", value_parser = weight)]
        weights: Vec<(String, u32)>,
        #[command(flatten)]
        write: Write,
    },
    /// Leave backends their own weights again
    #[command(after_help = "Example:\n  weir weights unset web 127.0.0.1:9001")]
    Unset {
        /// The service's name.
        service: String,
        /// The backends' ids.
        #[arg(required = true, value_name = "BACKEND")]
        backends: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Args)]
struct Write {
    #[command(flatten)]
    signature: Signature,
    /// Write only if this is still the newest revision [default: the one read just before].
    #[arg(long, value_name = "REV")]
    revision: Option<u64>,
}

/// A backend's id may hold `=`; a weight does not.
fn weight(text: &str) -> Result<(String, u32), String> {
    const WEIGHT_MAX: u32 = 65_535;
    let parsed = text.rsplit_once('=').and_then(|(backend, weight)| {
        let weight: u32 = weight.parse().ok()?;
        (!backend.is_empty() && weight <= WEIGHT_MAX).then(|| (backend.to_owned(), weight))
    });
    parsed.ok_or_else(|| {
        format!(
            "expected BACKEND=WEIGHT with a weight of 0 to {WEIGHT_MAX}, such as 127.0.0.1:9001=5"
        )
    })
}

impl Weights {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = &self.target;
        let action = self.action.unwrap_or(Action::List);
        block_on(async move {
            let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
            match action {
                Action::List => list(&mut plane, format).await,
                Action::Get { service } => show(&[read(&mut plane, service).await?], format, false),
                Action::Set {
                    service,
                    weights,
                    write,
                } => {
                    let count = weights.len();
                    let set: BTreeMap<String, u32> = weights.into_iter().collect();
                    if set.len() < count {
                        return Err(Failure::Usage("a backend is there twice".to_owned()));
                    }
                    let request = pb::SetWeightsRequest {
                        service,
                        set,
                        ..Default::default()
                    };
                    commit(&mut plane, request, write, format).await
                }
                Action::Unset {
                    service,
                    backends,
                    write,
                } => {
                    let request = pb::SetWeightsRequest {
                        service,
                        unset: backends,
                        ..Default::default()
                    };
                    commit(&mut plane, request, write, format).await
                }
            }
        })
    }
}

async fn list(plane: &mut ControlPlane, format: Format) -> Result<(), Failure> {
    let answer = plane
        .ask(async |session| {
            session
                .weights()
                .list_weights(pb::ListWeightsRequest {})
                .await
        })
        .await?;
    show(&answer.weights, format, true)
}

async fn read(plane: &mut ControlPlane, service: String) -> Result<pb::WeightsRevision, Failure> {
    let request = pb::GetWeightsRequest { service };
    plane
        .ask(async |session| session.weights().get_weights(request.clone()).await)
        .await
}

async fn commit(
    plane: &mut ControlPlane,
    mut request: pb::SetWeightsRequest,
    write: Write,
    format: Format,
) -> Result<(), Failure> {
    let before = match read(plane, request.service.clone()).await {
        Err(Failure::Refused(status)) if status.code() == tonic::Code::NotFound => {
            pb::WeightsRevision::default()
        }
        before => before?,
    };
    request.expected_revision = Some(write.revision.unwrap_or(before.revision));
    request.message = write.signature.message;
    request.author = write.signature.author.author;
    request.write_id = plane.write_id();
    let mut after = plane
        .ask(async |session| session.weights().set_weights(request.clone()).await)
        .await?;
    if !after.warnings.is_empty() {
        let set: Vec<String> = request.set.keys().cloned().collect();
        let known = Known::ask(plane).await.warnings(&after.service, &set);
        after.warnings = known.unwrap_or(after.warnings);
    }
    match format {
        Format::Json => print_json(&View {
            warnings: Some(&after.warnings),
            ..View::from(&after)
        }),
        Format::Text => print(&changes(&before, &after).join("\n")),
    }
}

/// The revision, and what became of each backend.
fn changes(before: &pb::WeightsRevision, after: &pb::WeightsRevision) -> Vec<String> {
    let written = |weights: &pb::WeightsRevision, backend: &String| {
        let weight = weights.weights.get(backend);
        weight.map_or_else(|| "its own".to_owned(), u32::to_string)
    };
    let mut backends: Vec<&String> = before.weights.keys().chain(after.weights.keys()).collect();
    backends.sort();
    backends.dedup();
    let mut lines = vec![format!("{}: revision {}", after.service, after.revision)];
    for backend in backends {
        let (was, is) = (written(before, backend), written(after, backend));
        if was != is {
            lines.push(format!("  {backend}: {was} -> {is}"));
        }
    }
    lines.extend(after.warnings.iter().map(|told| format!("warning: {told}")));
    lines
}

/// The weights of one service as scripts read them.
#[derive(Serialize)]
struct View<'a> {
    service: &'a str,
    weights: &'a BTreeMap<String, u32>,
    revision: u64,
    author: &'a str,
    message: &'a str,
    written_at: Option<String>,
    /// Only of a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<&'a [String]>,
}

impl<'a> From<&'a pb::WeightsRevision> for View<'a> {
    fn from(from: &'a pb::WeightsRevision) -> Self {
        Self {
            service: &from.service,
            weights: &from.weights,
            revision: from.revision,
            author: &from.author,
            message: &from.message,
            written_at: rfc3339(from.written_at_unix_ms),
            warnings: None,
        }
    }
}

fn show(all: &[pb::WeightsRevision], format: Format, as_list: bool) -> Result<(), Failure> {
    match (format, all) {
        (Format::Text, _) => print(&as_text(all)),
        (Format::Json, [one]) if !as_list => print_json(&View::from(one)),
        (Format::Json, _) => print_json(&all.iter().map(View::from).collect::<Vec<_>>()),
    }
}

fn as_text(all: &[pb::WeightsRevision]) -> String {
    let heading = [
        "SERVICE", "BACKEND", "WEIGHT", "REVISION", "WRITTEN", "AUTHOR", "MESSAGE",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for service in all {
        for (backend, weight) in &service.weights {
            rows.push(vec![
                service.service.clone(),
                backend.clone(),
                weight.to_string(),
                service.revision.to_string(),
                moment(service.written_at_unix_ms),
                or_dash(&service.author),
                service.message.clone(),
            ]);
        }
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_after_the_last_equals_sign() {
        assert_eq!(weight("[::1]:80=5"), Ok(("[::1]:80".to_owned(), 5)));
        assert_eq!(weight("a=b=0"), Ok(("a=b".to_owned(), 0)));
        for bad in ["a", "a=", "=1", "a=-1", "a=65536"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_changed_is_told_and_what_to_beware_of() {
        let of = |revision, weights: &[(&str, u32)]| pb::WeightsRevision {
            service: "web".to_owned(),
            revision,
            weights: weights.iter().map(|(b, w)| ((*b).to_owned(), *w)).collect(),
            ..pb::WeightsRevision::default()
        };
        let (before, mut after) = (of(1, &[("a", 1), ("b", 2)]), of(2, &[("b", 2), ("c", 0)]));
        after.warnings = vec!["no backend `c`".to_owned()];
        assert_eq!(
            changes(&before, &after),
            [
                "web: revision 2",
                "  a: 1 -> its own",
                "  c: its own -> 0",
                "warning: no backend `c`"
            ]
        );
    }
}
