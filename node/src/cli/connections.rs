//! `weir connections` and `weir topics`: subscribers of a node, and what it keeps for them.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use weir_core::units::{format_bytes, format_rough};
use weir_proto::convert::decode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use super::output::{Failure, Format, connect, print, print_json, table};
use super::{Target, block_on};

/// Show the subscribers of a node, or end one
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir connections --by lag --limit 20\n  weir connections end 1234\n  \
    weir connections topics"
)]
pub(super) struct Connections {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
    /// Which first.
    #[arg(long, value_enum, default_value_t = By::Lag)]
    by: By,
    /// How many at most.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

#[derive(Subcommand)]
enum Action {
    /// End the connection with this id
    #[command(after_help = "Example:\n  weir connections end 1234")]
    End {
        /// As it is shown.
        id: u64,
    },
    /// Show the topics of the node, and what is kept of them
    #[command(
        after_help = "Example:\n  weir connections topics\n  weir connections topics engines.up -o json"
    )]
    Topics {
        /// Only this one.
        #[arg(default_value = "")]
        topic: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Those for which most bytes wait.
    Lag,
    /// Those that are open for longest.
    Age,
}

impl Connections {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = self.target.output;
        block_on(async move {
            let mut client = BroadcastClient::new(connect(&self.target.node).await?);
            match self.action {
                None => {
                    let request = pb::ListConnectionsRequest { limit: self.limit };
                    let mut list = client.list_connections(request).await?.into_inner();
                    if self.by == By::Age {
                        list.connections.sort_by_key(|one| one.id);
                    }
                    show(&list, format, rows(&list))
                }
                Some(Action::End { id }) => {
                    client.disconnect(pb::DisconnectRequest { id }).await?;
                    print(&format!("connection {id} ends"))
                }
                Some(Action::Topics { topic }) => {
                    let stats = client.topic_stats(pb::TopicStatsRequest { topic });
                    let stats = stats.await?.into_inner();
                    show(&stats, format, topic_rows(&stats))
                }
            }
        })
    }
}

fn show(
    told: &impl serde::Serialize,
    format: Format,
    rows: Vec<Vec<String>>,
) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(told),
        Format::Text => print(&table(&rows)),
    }
}

fn rows(list: &pb::ListConnectionsResponse) -> Vec<Vec<String>> {
    let heading = [
        "ID", "CLIENT", "FORM", "TOPICS", "PATTERNS", "WAITS", "FOR", "BEHIND", "DROPPED",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(list.connections.iter().map(|one| {
        vec![
            one.id.to_string(),
            one.client.clone(),
            one.encoding.clone(),
            one.topics.to_string(),
            one.patterns.to_string(),
            format_bytes(one.waiting_bytes),
            format_rough(Duration::from_millis(one.waiting_ms)),
            one.behind.to_string(),
            one.dropped.to_string(),
        ]
    }));
    rows
}

fn topic_rows(stats: &pb::TopicStatsResponse) -> Vec<Vec<String>> {
    let heading = ["TOPIC", "POSITION", "GONE", "KEPT", "BYTES"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(stats.topics.iter().map(|one| {
        let position = one.position.map(decode_position);
        vec![
            one.topic.clone(),
            position.map_or_else(String::new, |position| position.to_string()),
            one.floor.to_string(),
            one.kept_messages.to_string(),
            format_bytes(one.kept_bytes),
        ]
    }));
    rows
}
