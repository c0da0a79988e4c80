//! `weir publish`: a message to everybody who wants it.

use std::io::BufRead as _;

use clap::{Args, ValueEnum};
use futures::{StreamExt as _, stream};
use weir_core::broadcast::Position;
use weir_proto::convert::decode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use super::output::{Failure, Format, connect, print, print_json};
use super::{Target, block_on};

/// Publish a message to everybody who is subscribed to a topic, on whichever node
#[derive(Args)]
#[command(after_help = "Example:\n  weir publish engines.up '{\"id\":1}'\n  \
    weir publish alarms.fire 'leave now' --class critical --ack replicated\n  \
    weir publish prices '{\"eur\":1.1}' --class latest --key eur\n  \
    tail -f lines.log | weir publish lines -")]
pub(super) struct Publish {
    #[command(flatten)]
    target: Target,
    /// The topic: segments of letters, digits and `_:-/`, with points between them.
    topic: String,
    /// The message: JSON, or any text. With `-`, each line of standard input is one.
    data: String,
    /// What may be lost of it by who does not keep up.
    #[arg(long, value_enum, default_value_t = Class::Stream)]
    class: Class,
    /// What a newer message replaces it by; with `--class latest`.
    #[arg(long, default_value = "")]
    key: String,
    /// A second message with it, within 120 s, is the first one.
    #[arg(long, default_value = "")]
    idempotency_key: String,
    /// What to wait for.
    #[arg(long, value_enum, default_value_t = Ack::Owner)]
    ack: Ack,
}

#[derive(Clone, Copy, ValueEnum)]
enum Class {
    /// At once, before other topics; who cannot take it is cut.
    Critical,
    /// Who falls behind catches up from history.
    Stream,
    /// Of each key the newest counts.
    Latest,
    /// Not kept and not numbered.
    Ephemeral,
}

#[derive(Clone, Copy, ValueEnum)]
enum Ack {
    /// Nothing but that the node has it.
    None,
    /// That the node which numbers the topic has it.
    Owner,
    /// That a second node has it too.
    Replicated,
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(async move {
            let mut client = BroadcastClient::new(connect(&self.target.node).await?);
            if self.data != "-" {
                let request = self.request(self.data.clone());
                let answer = client.publish(request).await?.into_inner();
                return self.show(&answer);
            }
            let (lines, read) = tokio::sync::mpsc::channel(64);
            let reader = tokio::task::spawn_blocking(move || read_lines(&lines));
            let topic = self.request(String::new());
            let requests = stream::unfold(read, async |mut read| Some((read.recv().await?, read)));
            let requests = requests.map(move |line: String| with_data(topic.clone(), line));
            let mut answers = client.publish_many(requests).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                self.show(&answer)?;
            }
            let read = reader.await;
            read.map_err(|error| Failure::Other(error.to_string()))??;
            Ok(())
        })
    }

    fn request(&self, data: String) -> pb::PublishRequest {
        let class = match self.class {
            Class::Critical => pb::MessageClass::Critical,
            Class::Stream => pb::MessageClass::Stream,
            Class::Latest => pb::MessageClass::Latest,
            Class::Ephemeral => pb::MessageClass::Ephemeral,
        };
        let ack = match self.ack {
            Ack::None => pb::PublishAck::None,
            Ack::Owner => pb::PublishAck::Owner,
            Ack::Replicated => pb::PublishAck::Replicated,
        };
        let request = pb::PublishRequest {
            topic: self.topic.clone(),
            class: class.into(),
            key: self.key.clone(),
            ack: ack.into(),
            idempotency_key: self.idempotency_key.clone(),
            ..pb::PublishRequest::default()
        };
        with_data(request, data)
    }

    fn show(&self, answer: &pb::PublishResponse) -> Result<(), Failure> {
        match self.target.output {
            Format::Json => print_json(answer),
            Format::Text => print(&said(answer)),
        }
    }
}

fn read_lines(lines: &tokio::sync::mpsc::Sender<String>) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        if lines.blocking_send(line?).is_err() {
            break;
        }
    }
    Ok(())
}

fn with_data(request: pb::PublishRequest, data: String) -> pb::PublishRequest {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&data).is_ok();
    let content = match is_json {
        true => pb::MessageContent::Json,
        false => pb::MessageContent::Text,
    };
    pb::PublishRequest {
        content: content.into(),
        data: data.into(),
        ..request
    }
}

fn said(answer: &pb::PublishResponse) -> String {
    let position = answer.position.map(decode_position);
    let mut text = match position {
        Some(position @ Position { offset: 1.., .. }) => format!("published at {position}"),
        _ => "published".to_owned(),
    };
    if answer.duplicate {
        text.push_str(", by an earlier call");
    }
    if answer.replicated {
        text.push_str(", on two nodes");
    }
    text
}
