//! `weir engines provision`: one more engine, or some.

use std::collections::BTreeSet;
use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};
use weir_core::trace::TraceContext;
use weir_core::units::format_rough;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;
use weir_proto::node::v1::provision_response::Outcome;

use crate::cli::control::text::counted;
use crate::cli::output::{Failure, Format, note, print, print_json};

/// What is asked for.
pub(super) struct Provision {
    pub(super) service: String,
    pub(super) count: u32,
    pub(super) key: Option<String>,
    /// How long to wait for engines that are ready.
    pub(super) wait: Option<Duration>,
    /// The span that asks.
    pub(super) traceparent: Option<String>,
}

#[derive(Serialize)]
struct Asked {
    jobs: Vec<pb::ProvisionJob>,
    /// Engines that got ready meanwhile; only of a command that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<Vec<String>>,
}

impl Provision {
    pub(super) async fn run(self, channel: Channel, format: Format) -> Result<(), Failure> {
        let mut client = ProvisionClient::new(channel);
        let deadline = self.wait.map(|wait| Instant::now() + wait);
        let request = pb::ListEnginesRequest { mesh: true };
        let before = client.list_engines(request).await?.into_inner();
        let before = self.ready(&before);
        let jobs = self.ask(&mut client).await?;
        if format == Format::Text {
            for job in &jobs {
                let was = if job.already { ", as before" } else { "" };
                print(&format!("job {}{was}", job.job_id))?;
            }
        }
        let ready = match deadline {
            Some(deadline) => Some(self.until_ready(&mut client, &before, deadline).await?),
            None => None,
        };
        match (format, ready) {
            (Format::Json, ready) => print_json(&Asked { jobs, ready }),
            (Format::Text, Some(ready)) => print(&format!("ready: {}", ready.join(", "))),
            (Format::Text, None) => Ok(()),
        }
    }

    async fn ask(
        &self,
        client: &mut ProvisionClient<Channel>,
    ) -> Result<Vec<pb::ProvisionJob>, Failure> {
        let traceparent = self.traceparent()?;
        let mut jobs = Vec::new();
        for number in 1..=self.count {
            let idempotency_key = match (&self.key, self.count) {
                (None, _) => String::new(),
                (Some(key), 1) => key.clone(),
                (Some(key), _) => format!("{key}-{number}"),
            };
            let request = pb::ProvisionRequest {
                service: self.service.clone(),
                idempotency_key,
            };
            let mut request = Request::new(request);
            if let Some(traceparent) = &traceparent {
                let head = request.metadata_mut();
                head.insert("traceparent", traceparent.clone());
            }
            match client.provision(request).await?.into_inner().outcome {
                Some(Outcome::Job(job)) => jobs.push(job),
                Some(Outcome::Refusal(refusal)) => {
                    for job in &jobs {
                        note(&format!("asked for before the refusal: job {}", job.job_id));
                    }
                    return Err(refused(&refusal));
                }
                None => return Err(Failure::Other("the node tells no outcome".to_owned())),
            }
        }
        Ok(jobs)
    }

    /// As gRPC metadata.
    fn traceparent(&self) -> Result<Option<AsciiMetadataValue>, Failure> {
        let Some(text) = self.traceparent.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let header = HeaderValue::from_str(text).ok();
        let context = header.as_ref().and_then(TraceContext::parse);
        let value = context.and_then(|_| text.parse().ok());
        value.map(Some).ok_or_else(|| {
            Failure::Usage(format!(
                "--traceparent: `{text}` is no span \
                 (allowed: such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01)"
            ))
        })
    }

    /// Engines that are ready and were not before, once there are enough.
    async fn until_ready(
        &self,
        client: &mut ProvisionClient<Channel>,
        before: &BTreeSet<String>,
        deadline: Instant,
    ) -> Result<Vec<String>, Failure> {
        let request = pb::ListEnginesRequest { mesh: true };
        let mut lists = client.watch_engines(request).await?.into_inner();
        let mut new = Vec::new();
        while let Ok(list) = timeout_at(deadline, lists.message()).await {
            let Some(list) = list? else {
                return Err(Failure::Other("the node ended the watch".to_owned()));
            };
            new = self.ready(&list).difference(before).cloned().collect();
            if new.len() >= self.count as usize {
                return Ok(new);
            }
        }
        Err(Failure::Other(format!(
            "{} of {} ready after {}; the jobs stay: `weir engines` shows how far they are",
            new.len(),
            counted(self.count as usize, "engine"),
            format_rough(self.wait.unwrap_or_default()),
        )))
    }

    fn ready(&self, list: &pb::ListEnginesResponse) -> BTreeSet<String> {
        let engines = list.engines.iter();
        engines
            .filter(|engine| engine.service == self.service && engine.state == "ready")
            .map(|engine| engine.id.clone())
            .collect()
    }
}

fn refused(refusal: &pb::Refusal) -> Failure {
    let pb::Refusal { code, message, .. } = refusal;
    let mut text = format!("{code}: {message}");
    if refusal.recovery_eta_ms > 0 {
        let eta = Duration::from_secs(refusal.recovery_eta_ms.div_ceil(1_000));
        text += &format!("; over in {} at the earliest", format_rough(eta));
    }
    match code.as_str() {
        "unknown_service" => Status::not_found(text).into(),
        "invalid_key" => Status::invalid_argument(text).into(),
        _ => Failure::Other(text),
    }
}
