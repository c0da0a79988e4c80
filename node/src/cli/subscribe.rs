//! `weir subscribe`: what is published, as it comes.

use clap::Args;
use serde_json::{Value, json};
use weir_core::broadcast::Position;
use weir_core::calendar;
use weir_proto::convert::{decode_class, decode_position};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;
use weir_proto::node::v1::delivery::What;

use super::output::{Failure, Format, connect, note, print};
use super::{Target, block_on};

/// Show what is published to topics, as it comes, until interrupted
///
/// A pattern is a topic with wildcards: `*` is one segment, `>` at the end one or more. What happens in the mesh is
/// published under `_weir.`, such as `_weir.engine.up`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir subscribe 'engines.*'\n  weir subscribe prices --since all --count 10\n  \
    weir subscribe '_weir.>' -o json"
)]
pub(super) struct Subscribe {
    #[command(flatten)]
    target: Target,
    /// Topics and patterns.
    #[arg(required = true)]
    topics: Vec<String>,
    /// From where on, for topics without wildcards: `all` that is kept, or a position that was shown.
    #[arg(long, value_parser = parse_since)]
    since: Option<Since>,
    /// End after so many messages.
    #[arg(long)]
    count: Option<usize>,
}

#[derive(Clone, Copy)]
enum Since {
    All,
    Position(Position),
}

fn parse_since(text: &str) -> Result<Since, String> {
    match text {
        "all" => Ok(Since::All),
        position => {
            let position: Result<Position, _> = position.parse();
            position
                .map(Since::Position)
                .map_err(|error| error.to_string())
        }
    }
}

impl Subscribe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = self.request();
        if self.since.is_some() && !request.patterns.is_empty() {
            let patterns = request.patterns.join("`, `");
            note(&format!(
                "--since is for topics without wildcards: `{patterns}` go on from now"
            ));
        }
        let (node, format, count) = (self.target.node, self.target.output, self.count);
        block_on(async move {
            let mut client = BroadcastClient::new(connect(&node).await?);
            let mut deliveries = client.subscribe(request).await?.into_inner();
            let mut left = count;
            while let Some(delivery) = deliveries.message().await? {
                match delivery.what {
                    Some(What::Batch(batch)) => show_batch(&batch, format, &mut left)?,
                    Some(other) => show_other(&other)?,
                    None => {}
                }
                if left == Some(0) {
                    return Ok(());
                }
            }
            Err(Failure::Away(format!("node `{node}` ended")))
        })
    }

    fn request(&self) -> pb::SubscribeRequest {
        use pb::topic_subscription::Since as Wire;
        let (patterns, topics): (Vec<_>, Vec<_>) = self
            .topics
            .iter()
            .cloned()
            .partition(|topic| topic.contains(['*', '>']));
        let since = self.since.map(|since| match since {
            Since::All => Wire::All(true),
            Since::Position(Position { epoch, offset }) => Wire::Position(pb::MessagePosition {
                epoch: epoch.0,
                offset,
            }),
        });
        let subscription = |topic| pb::TopicSubscription { topic, since };
        pb::SubscribeRequest {
            topics: topics.into_iter().map(subscription).collect(),
            patterns,
        }
    }
}

fn show_batch(batch: &pb::Batch, format: Format, left: &mut Option<usize>) -> Result<(), Failure> {
    for message in &batch.messages {
        if *left == Some(0) {
            return Ok(());
        }
        *left = left.map(|left| left - 1);
        let position = pb::MessagePosition {
            epoch: batch.epoch,
            offset: message.offset,
        };
        let position = decode_position(position).to_string();
        let line = match format {
            Format::Json => as_json(&batch.topic, &position, message).to_string(),
            Format::Text => format!(
                "{}  {}  {position}  {}",
                calendar::rfc3339_ms(message.published_unix_ms),
                batch.topic,
                printable(&String::from_utf8_lossy(&message.data)),
            ),
        };
        print(&line)?;
    }
    Ok(())
}

/// Control characters would act on the terminal.
fn printable(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn as_json(topic: &str, position: &str, message: &pb::Message) -> Value {
    let mut shown = json!({
        "topic": topic,
        "position": position,
        "class": decode_class(message.class).map(|class| class.as_str()),
        "published_at": calendar::rfc3339_ms(message.published_unix_ms),
    });
    if !message.key.is_empty() {
        shown["key"] = message.key.clone().into();
    }
    let (name, data) = match message.content() {
        pb::MessageContent::Json => (
            "data",
            serde_json::from_slice(&message.data).unwrap_or(Value::Null),
        ),
        pb::MessageContent::Text => ("text", String::from_utf8_lossy(&message.data).into()),
        _ => {
            let mut text = Vec::new();
            weir_broadcast::base64(&message.data, &mut text);
            ("base64", String::from_utf8_lossy(&text).into())
        }
    };
    shown[name] = data;
    shown
}

fn show_other(what: &What) -> Result<(), Failure> {
    match what {
        What::Gap(gap) => note(&format!(
            "{}: messages {} to {} are not kept any more",
            gap.topic, gap.from, gap.to
        )),
        What::Recovered(recovered) if !recovered.ok => note(&format!(
            "{} began anew: what came before says nothing of what comes now",
            recovered.topic
        )),
        What::Slow(slow) => note(&format!(
            "{} bytes wait for this client; {} messages were dropped",
            slow.lag_bytes, slow.dropped
        )),
        What::Reconnect(reconnect) => {
            let where_to = match &*reconnect.alternative {
                "" => String::new(),
                node => format!(", at {node}"),
            };
            let after = reconnect.after_ms;
            return Err(Failure::Away(format!(
                "the node goes; come back in {after} ms{where_to}"
            )));
        }
        What::Error(error) => {
            return Err(Failure::Other(format!(
                "{}: {}",
                error.field, error.message
            )));
        }
        _ => {}
    }
    Ok(())
}
