//! `weir events`: what happened on a node, and what happens.

use clap::Args;
use weir_core::calendar;
use weir_core::text::one_line;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::events_client::EventsClient;

use super::output::{Failure, Format, connect, note, print, print_json, table_in};
use super::{Target, block_on};

/// Show what happened on a node: engines, their jobs and limits, VPNs and ports
///
/// A node keeps its last 1,000 events. Of equal ones within a second one is told, with their number.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir events\n  weir events --follow --kind 'engine.*' --kind job.dead\n  \
    weir events --since 0199f3a2b4c5d6e7-42 -o json"
)]
pub(super) struct Events {
    #[command(flatten)]
    target: Target,
    /// Then show what happens, as it does, until interrupted; JSON is one event a line.
    #[arg(short, long)]
    follow: bool,
    /// Only what happened after that: what `next` of `-o json` said.
    #[arg(long, default_value = "")]
    since: String,
    /// Only this kind, or a group such as `engine.*`; may be repeated.
    #[arg(long = "kind", value_delimiter = ',')]
    kinds: Vec<String>,
}

impl Events {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = pb::EventsRequest {
            since: self.since,
            kinds: self.kinds,
        };
        let (node, format, follow) = (self.target.node, self.target.output, self.follow);
        block_on(async move {
            let mut client = EventsClient::new(connect(&node).await?);
            let mut widths = Vec::new();
            if !follow {
                let list = client.list_events(request).await?.into_inner();
                gap(&list);
                return match format {
                    Format::Json => print_json(&list),
                    Format::Text => print(&rows(&list, &mut widths, true)),
                };
            }
            let mut lists = client.watch_events(request).await?.into_inner();
            let mut is_first = true;
            while let Some(list) = lists.message().await? {
                gap(&list);
                match format {
                    Format::Json => lines(&list)?,
                    Format::Text if is_first || !list.events.is_empty() => {
                        print(&rows(&list, &mut widths, is_first))?;
                    }
                    Format::Text => {}
                }
                is_first = false;
            }
            Err(Failure::Away(format!("node `{node}` ended")))
        })
    }
}

/// Says what is not in a list.
fn gap(list: &pb::EventList) {
    if list.restarted {
        note("the node was started anew since; what it had not told by then is not known");
    }
    if list.missed > 0 {
        note(&format!("{} events are not kept any more", list.missed));
    }
}

fn lines(list: &pb::EventList) -> Result<(), Failure> {
    for event in &list.events {
        let line = serde_json::to_string(event);
        print(&line.map_err(|error| Failure::Other(error.to_string()))?)?;
    }
    Ok(())
}

fn rows(list: &pb::EventList, widths: &mut Vec<usize>, has_heading: bool) -> String {
    let heading = ["TIME", "SEVERITY", "EVENT", "SUBJECT", "COUNT", "WHAT"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(has_heading.then(|| heading.map(String::from).to_vec()));
    rows.extend(list.events.iter().map(|event| {
        let attributes = event.attributes.iter();
        let what: Vec<String> = attributes
            .map(|(name, value)| format!("{name}={}", one_line(value)))
            .collect();
        let subject = match &*event.subject {
            "" => event.subject_kind.clone(),
            name => format!("{} {name}", event.subject_kind),
        };
        vec![
            calendar::rfc3339_ms(event.at_unix_ms),
            event.severity.clone(),
            event.kind.clone(),
            subject,
            event.count.to_string(),
            what.join(" "),
        ]
    }));
    table_in(widths, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_row_and_one_of_the_node_names_it() {
        let event = |kind: &str, subject_kind: &str, subject: &str| pb::Event {
            at_unix_ms: 1_001,
            kind: kind.to_owned(),
            severity: "info".to_owned(),
            subject_kind: subject_kind.to_owned(),
            subject: subject.to_owned(),
            attributes: [("why", "a\nb"), ("state", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            count: 3,
            ..pb::Event::default()
        };
        let list = pb::EventList {
            events: vec![
                event("engine.down", "engine", "web-1"),
                event("breaker.open", "node", ""),
            ],
            ..pb::EventList::default()
        };
        let text = rows(&list, &mut Vec::new(), true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("1970-01-01T00:00:01.001Z  info"));
        assert!(lines[1].contains("engine web-1  3") && lines[1].contains("state=x why=a; b"));
        assert!(lines[2].contains("breaker.open  node "), "{text}");
    }
}
