//! `weir jobs`: what waits, runs, failed and was done.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use weir_control_plane::jobs::DEFAULT_QUEUE;
use weir_proto::control::v1 as pb;

use super::block_on;
use super::control::text::{job_state, moment, or_dash, rfc3339, some};
use super::control::{ControlPlane, Signature, Target};
use super::output::{Failure, Format, print, print_json, table};

/// Jobs that one list shows.
const LISTED_MAX: usize = 1_000;
/// Asked for at a time.
const PAGE_ENTRIES: u32 = 200;
/// Characters of an error in a table; `weir jobs get` shows all.
const ERROR_CHARS_MAX: usize = 60;

/// Look at durable jobs, try dead ones again, cancel what nobody needs
///
/// A job waits until a node claims it, and is tried again when an attempt fails or its node dies. One without attempts
/// left is dead, and stays until it is requeued or cancelled.
#[derive(Args)]
#[command(after_help = "Example:\n  weir jobs\n  weir jobs list --state dead")]
pub(super) struct Jobs {
    #[command(flatten)]
    target: Target,
    /// Which queue.
    #[arg(long, default_value = DEFAULT_QUEUE, global = true)]
    queue: String,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show jobs that are open or dead, or those in given states (the default)
    #[command(after_help = "Example:\n  weir jobs list --state dead,cancelled -o json")]
    List {
        /// Only these, separated by commas [default: all but done and cancelled].
        #[arg(long, value_enum, value_delimiter = ',')]
        state: Vec<StateName>,
    },
    /// Show one job
    #[command(after_help = "Example:\n  weir jobs get 019c8d2f0a3b5e6f708192a3b4c5")]
    Get {
        /// The job's id.
        job: String,
    },
    /// Give a dead job all its attempts again
    #[command(
        after_help = "Example:\n  weir jobs requeue 019c8d2f0a3b5e6f708192a3b4c5 -m \"disk replaced\""
    )]
    Requeue {
        /// The job's id.
        job: String,
        #[command(flatten)]
        signature: Signature,
    },
    /// End an open job, whoever has it, or remove a dead one
    #[command(after_help = "Example:\n  weir jobs cancel 019c8d2f0a3b5e6f708192a3b4c5")]
    Cancel {
        /// The job's id.
        job: String,
        #[command(flatten)]
        signature: Signature,
    },
}

/// The states by which jobs can be listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateName {
    /// Whoever asks gets it.
    Ready,
    /// Not before its time.
    Waiting,
    /// A node has it.
    Claimed,
    /// Failed for good.
    Dead,
    /// Done; kept for 7 days.
    Done,
    /// Ended by an operator.
    Cancelled,
}

impl StateName {
    const LISTED: [Self; 4] = [Self::Ready, Self::Waiting, Self::Claimed, Self::Dead];
}

impl From<StateName> for pb::JobState {
    fn from(state: StateName) -> Self {
        match state {
            StateName::Ready => Self::Ready,
            StateName::Waiting => Self::Waiting,
            StateName::Claimed => Self::Claimed,
            StateName::Dead => Self::Dead,
            StateName::Done => Self::Done,
            StateName::Cancelled => Self::Cancelled,
        }
    }
}

impl Jobs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (target, queue) = (&self.target, self.queue);
        let action = self.action.unwrap_or(Action::List { state: Vec::new() });
        block_on(async move {
            let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
            let plane = &mut plane;
            match action {
                Action::List { state } => list(plane, queue, &state, format).await,
                Action::Get { job } => show(&get(plane, queue, job).await?, format),
                Action::Requeue { job, signature } => {
                    let request = pb::RequeueJobRequest {
                        queue,
                        job_id: job,
                        author: signature.author.author,
                        message: signature.message,
                    };
                    let ask = async |session: super::control::Session| {
                        session.jobs().requeue(request.clone()).await
                    };
                    show(&plane.ask(ask).await?, format)
                }
                Action::Cancel { job, signature } => {
                    let request = pb::CancelJobRequest {
                        queue,
                        job_id: job,
                        author: signature.author.author,
                        message: signature.message,
                    };
                    let ask = async |session: super::control::Session| {
                        session.jobs().cancel(request.clone()).await
                    };
                    show(&plane.ask(ask).await?, format)
                }
            }
        })
    }
}

async fn get(plane: &mut ControlPlane, queue: String, job_id: String) -> Result<pb::Job, Failure> {
    let request = pb::GetJobRequest { queue, job_id };
    plane
        .ask(async |session| session.jobs().get(request.clone()).await)
        .await
}

async fn list(
    plane: &mut ControlPlane,
    queue: String,
    states: &[StateName],
    format: Format,
) -> Result<(), Failure> {
    let states = match states {
        [] => &StateName::LISTED,
        states => states,
    };
    let mut request = pb::ListJobsRequest {
        queue,
        states: states
            .iter()
            .map(|s| pb::JobState::from(*s).into())
            .collect(),
        after: String::new(),
        entries_max: PAGE_ENTRIES,
        node_id: String::new(),
    };
    let mut jobs: Vec<pb::Job> = Vec::new();
    let is_all = loop {
        let page = plane
            .ask(async |session| session.jobs().list(request.clone()).await)
            .await?;
        jobs.extend(page.jobs);
        if page.next.is_empty() || jobs.len() > LISTED_MAX {
            break page.next.is_empty() && jobs.len() <= LISTED_MAX;
        }
        request.after = page.next;
    };
    jobs.truncate(LISTED_MAX);
    if format == Format::Json {
        return print_json(&jobs.iter().map(View::from).collect::<Vec<_>>());
    }
    let mut text = as_table(&jobs);
    if !is_all {
        text.push_str(&format!(
            "\nand more; shown are the first {LISTED_MAX} (--state)"
        ));
    }
    print(&text)
}

fn as_table(jobs: &[pb::Job]) -> String {
    let heading = [
        "JOB", "SERVICE", "SLOT", "STATE", "ATTEMPT", "NODE", "SINCE", "ERROR",
    ];
    let mut rows = vec![heading.map(String::from).into()];
    for job in jobs {
        let view = View::from(job);
        let error: String = view.last_error.chars().take(ERROR_CHARS_MAX).collect();
        rows.push(vec![
            job.job_id.clone(),
            view.service.to_owned(),
            or_dash(view.slot),
            view.state.to_owned(),
            format!("{}/{}", view.attempt, view.attempts_max),
            or_dash(view.node),
            moment(since(job)),
            or_dash(&error),
        ]);
    }
    table(&rows)
}

/// When it came to be what it is; of what waits, until when.
fn since(job: &pb::Job) -> u64 {
    match job.state() {
        pb::JobState::Claimed => job.claimed_at_unix_ms,
        pb::JobState::Dead | pb::JobState::Done | pb::JobState::Cancelled => job.ended_at_unix_ms,
        _ => job.not_before_unix_ms,
    }
}

/// A job as scripts read it.
#[derive(Serialize)]
struct View<'a> {
    job: &'a str,
    queue: &'a str,
    key: &'a str,
    service: &'a str,
    slot: &'a str,
    reason: &'a str,
    priority: u32,
    state: &'static str,
    attempt: u32,
    attempts_max: u32,
    node: &'a str,
    boot: &'a str,
    enqueued_at: Option<String>,
    not_before: Option<String>,
    claimed_at: Option<String>,
    ended_at: Option<String>,
    last_error: &'a str,
    result: Option<String>,
}

impl<'a> From<&'a pb::Job> for View<'a> {
    fn from(job: &'a pb::Job) -> Self {
        let (spec, holder) = (job.spec.as_ref(), job.holder.as_ref());
        let limits = job.limits.unwrap_or_default();
        Self {
            job: &job.job_id,
            queue: &job.queue,
            key: &job.idempotency_key,
            service: spec.map_or("", |spec| &spec.service),
            slot: spec.map_or("", |spec| &spec.slot),
            reason: spec.map_or("", |spec| &spec.reason),
            priority: job.priority,
            state: job_state(job.state()),
            attempt: job.attempt,
            attempts_max: limits.attempts_max.unwrap_or_default(),
            node: holder.map_or("", |holder| &holder.node_id),
            boot: holder.map_or("", |holder| &holder.boot_id),
            enqueued_at: rfc3339(job.enqueued_at_unix_ms),
            not_before: rfc3339(job.not_before_unix_ms),
            claimed_at: rfc3339(job.claimed_at_unix_ms),
            ended_at: rfc3339(job.ended_at_unix_ms),
            last_error: &job.last_error,
            result: some(&job.result),
        }
    }
}

fn show(job: &pb::Job, format: Format) -> Result<(), Failure> {
    let view = View::from(job);
    if format == Format::Json {
        return print_json(&view);
    }
    let mut rows = vec![
        ("job", view.job.to_owned()),
        ("state", view.state.to_owned()),
        ("service", view.service.to_owned()),
        ("slot", or_dash(view.slot)),
        ("reason", or_dash(view.reason)),
        ("key", view.key.to_owned()),
        (
            "attempt",
            format!("{} of {}", view.attempt, view.attempts_max),
        ),
        ("node", or_dash(view.node)),
        ("enqueued", moment(job.enqueued_at_unix_ms)),
        ("not before", moment(job.not_before_unix_ms)),
        ("claimed", moment(job.claimed_at_unix_ms)),
        ("ended", moment(job.ended_at_unix_ms)),
        ("error", or_dash(view.last_error)),
    ];
    if let Some(result) = view.result {
        rows.push(("result", result));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    print(&table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_of_each_job_what_matters_in_its_state() {
        let mut job = pb::Job {
            job_id: "1".repeat(28),
            attempt: 2,
            last_error: "no port\nleft".repeat(10),
            not_before_unix_ms: 1_000,
            ended_at_unix_ms: 2_000,
            claimed_at_unix_ms: 3_000,
            ..pb::Job::default()
        };
        for (state, second, name) in [
            (pb::JobState::Ready, 1, "ready"),
            (pb::JobState::Claimed, 3, "claimed"),
            (pb::JobState::Dead, 2, "dead"),
        ] {
            job.set_state(state);
            let text = as_table(std::slice::from_ref(&job));
            let row = text.lines().nth(1).unwrap();
            assert!(row.contains(name), "{row}");
            assert!(
                row.contains(&format!("1970-01-01T00:00:0{second}Z")),
                "{row}"
            );
            assert_eq!(text.lines().count(), 2);
        }
    }
}
