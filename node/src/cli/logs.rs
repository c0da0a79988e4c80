//! `weir logs`: what nodes write about themselves.

use std::time::Duration;

use clap::Args;
use weir_core::calendar;
use weir_core::text::one_line;
use weir_core::units::parse_duration;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::logs_client::LogsClient;

use super::output::{Failure, Format, connect, note, print, print_json};
use super::{Target, block_on};

/// Show what nodes write about themselves: the newest lines, and what is written from now on
///
/// Of the file of `[logs]`, or of what a node has in memory. The node at --node asks all others.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir logs --since 10m --level warn\n  weir logs --grep 'connect failed' --lines 20\n  \
    weir logs --follow --node-only\n  weir logs --level error -o json"
)]
pub(super) struct Logs {
    #[command(flatten)]
    target: Target,
    /// No lines older than this, such as 10m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Only lines at least as grave: error, warn, info, debug, trace.
    #[arg(long, default_value = "", hide_default_value = true)]
    level: String,
    /// Only lines that hold this text as it is.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    grep: String,
    /// At most so many of the newest lines [default: as many as a node tells, 1000].
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    lines: Option<u32>,
    /// Then show what is written, as it is, until interrupted; JSON is one line each.
    #[arg(short, long)]
    follow: bool,
    /// Only lines of the node that is asked.
    #[arg(long)]
    node_only: bool,
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let since_ms = self.since.map_or(0, |since| since.as_millis().max(1));
        let request = pb::LogsRequest {
            since_ms: u64::try_from(since_ms).unwrap_or(u64::MAX),
            level: self.level,
            grep: self.grep,
            lines_max: self.lines.unwrap_or(0),
            mesh: !self.node_only,
        };
        let (node, format) = (self.target.node, self.target.output);
        block_on(async move {
            let mut client = LogsClient::new(connect(&node).await?);
            if !self.follow {
                let list = client.list_logs(request).await?.into_inner();
                notes(&list, self.lines.is_none());
                return match format {
                    Format::Json => print_json(&list.lines),
                    Format::Text if list.lines.is_empty() => Ok(()),
                    Format::Text => print(&as_text(&list.lines)),
                };
            }
            let mut lists = client.watch_logs(request).await?.into_inner();
            while let Some(list) = lists.message().await? {
                notes(&list, false);
                match format {
                    Format::Json => as_json_lines(&list.lines)?,
                    Format::Text if list.lines.is_empty() => {}
                    Format::Text => print(&as_text(&list.lines))?,
                }
            }
            Err(Failure::Away(format!("node `{node}` ended")))
        })
    }
}

/// Says what is not told.
fn notes(list: &pb::LogList, tells_cut: bool) {
    if !list.unreachable_nodes.is_empty() {
        let nodes = list.unreachable_nodes.join(", ");
        note(&format!(
            "not told, because they do not answer: lines of {nodes}"
        ));
    }
    if list.missed > 0 {
        note(&format!("{} lines were too many to be told", list.missed));
    }
    if list.cut && tells_cut {
        note("there are older lines, or may be; --since and --grep look for others");
    }
}

fn as_json_lines(lines: &[pb::LogLine]) -> Result<(), Failure> {
    for line in lines {
        let line = serde_json::to_string(line);
        print(&line.map_err(|error| Failure::Other(error.to_string()))?)?;
    }
    Ok(())
}

fn as_text(lines: &[pb::LogLine]) -> String {
    let lines: Vec<String> = lines.iter().map(line).collect();
    lines.join("\n")
}

/// One line, whatever its message holds: what follows a newline could pass for a line of its own.
fn line(line: &pb::LogLine) -> String {
    if line.level.is_empty() {
        return format!("{} {}", line.node, one_line(&line.message));
    }
    let attributes: String = line
        .attributes
        .iter()
        .map(|(name, value)| format!(" {name}={}", one_line(value)))
        .collect();
    let said = format!("{}: {}", line.target, one_line(&line.message));
    format!(
        "{} {:<5} {} {}{}",
        calendar::rfc3339_ms(line.at_unix_ms.min(calendar::LAST_UNIX_MS)),
        line.level.to_uppercase(),
        line.node,
        one_line(&said),
        one_line(&attributes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_newlines_stays_one_line() {
        let told = pb::LogLine {
            node: "node-1".to_owned(),
            at_unix_ms: 1_001,
            level: "warn".to_owned(),
            target: "weir_node::x".to_owned(),
            message: "a\n\x1b[31m1970".to_owned(),
            attributes: [("took".to_owned(), "3ms".to_owned())].into(),
        };
        assert_eq!(
            line(&told),
            "1970-01-01T00:00:01.001Z WARN  node-1 weir_node::x: a; \\u{1b}[31m1970 took=3ms"
        );
    }
}
