//! `weir control-plane status` and `audit`.

use std::collections::BTreeSet;

use serde::Serialize;
use weir_core::units::format_bytes;
use weir_proto::control::v1 as pb;

use crate::cli::control::text::{counted, moment, or_dash, rfc3339, some};
use crate::cli::control::{ControlPlane, Target};
use crate::cli::output::{Failure, Format, print, print_json, table};

pub(super) async fn status(target: &Target) -> Result<(), Failure> {
    let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
    let status = plane
        .ask(async |session| {
            let request = pb::GetControlPlaneRequest {};
            session.control_plane().get_control_plane(request).await
        })
        .await?;
    match format {
        Format::Json => print_json(&StatusView::from(&status))?,
        Format::Text => print(&as_text(&status))?,
    }
    match status.store_healthy {
        true => Ok(()),
        false => Err(Failure::Other("the store is not healthy".to_owned())),
    }
}

fn as_text(status: &pb::ControlPlaneStatus) -> String {
    let health = if status.store_healthy {
        "healthy"
    } else {
        "not healthy"
    };
    let leader = match status.leader.as_str() {
        "" => "no leader".to_owned(),
        leader => format!("leader {leader}, term {}", status.leader_term),
    };
    let mut lines = vec![
        format!(
            "{}, version {}, epoch {}",
            status.instance, status.version, status.epoch
        ),
        format!(
            "store {health}, revision {}, {} on disk",
            status.store_revision,
            format_bytes(status.store_disk_bytes)
        ),
    ];
    let problems: BTreeSet<&String> = status.store_problems.iter().collect();
    lines.extend(problems.iter().map(|problem| format!("  {problem}")));
    lines.push(format!(
        "{leader}; instances {}",
        or_dash(&status.instances.join(", "))
    ));
    let streams = usize::try_from(status.streams).unwrap_or(usize::MAX);
    lines.push(format!("{} here", counted(streams, "node stream")));
    lines.join("\n")
}

#[derive(Serialize)]
struct StatusView<'a> {
    instance: &'a str,
    version: &'a str,
    epoch: &'a str,
    store: StoreView<'a>,
    leader: Option<String>,
    leader_term: u64,
    streams: u64,
    instances: &'a [String],
}

#[derive(Serialize)]
struct StoreView<'a> {
    healthy: bool,
    problems: &'a [String],
    revision: u64,
    disk_bytes: u64,
}

impl<'a> From<&'a pb::ControlPlaneStatus> for StatusView<'a> {
    fn from(status: &'a pb::ControlPlaneStatus) -> Self {
        Self {
            instance: &status.instance,
            version: &status.version,
            epoch: &status.epoch,
            store: StoreView {
                healthy: status.store_healthy,
                problems: &status.store_problems,
                revision: status.store_revision,
                disk_bytes: status.store_disk_bytes,
            },
            leader: some(&status.leader),
            leader_term: status.leader_term,
            streams: status.streams,
            instances: &status.instances,
        }
    }
}

pub(super) async fn audit(target: &Target, entries_max: u32) -> Result<(), Failure> {
    let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
    let request = pb::ListAuditRequest { entries_max };
    let answer = plane
        .ask(async |session| session.audit().list_audit(request).await)
        .await?;
    if format == Format::Json {
        return print_json(
            &answer
                .records
                .iter()
                .map(RecordView::from)
                .collect::<Vec<_>>(),
        );
    }
    let heading = [
        "AT", "AUTHOR", "ROLE", "ACTION", "TARGET", "MESSAGE", "DETAIL",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for record in &answer.records {
        rows.push(vec![
            moment(record.at_unix_ms),
            or_dash(&record.author),
            or_dash(&record.role),
            record.action.clone(),
            or_dash(&record.target),
            or_dash(&record.message),
            record.detail.clone(),
        ]);
    }
    print(&table(&rows))
}

#[derive(Serialize)]
struct RecordView<'a> {
    at: Option<String>,
    author: &'a str,
    role: &'a str,
    action: &'a str,
    target: &'a str,
    message: &'a str,
    write_id: &'a str,
    detail: &'a str,
}

impl<'a> From<&'a pb::AuditRecord> for RecordView<'a> {
    fn from(record: &'a pb::AuditRecord) -> Self {
        Self {
            at: rfc3339(record.at_unix_ms),
            author: &record.author,
            role: &record.role,
            action: &record.action,
            target: &record.target,
            message: &record.message,
            write_id: &record.write_id,
            detail: &record.detail,
        }
    }
}
