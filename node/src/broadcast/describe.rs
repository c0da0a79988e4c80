//! Messages and topics in the words of `weir.node.v1`.

use weir_broadcast::{Encoding, Published, Read, Stat};
use weir_core::broadcast::{Position, Refused, TopicName};
use weir_proto::convert::{decode_position, encode_position};
use weir_proto::node::v1 as pb;

use super::{Broadcast, OpenConnection};

/// Batches of one answer.
const BATCHES_MAX: usize = 100;
/// Bytes of one answer; a batch that is longer goes alone.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// What became of a message.
pub fn published(published: Published, replicated: bool) -> pb::PublishResponse {
    pb::PublishResponse {
        position: Some(encode_position(published.position)),
        duplicate: published.is_duplicate,
        replicated,
    }
}

/// A topic.
pub fn stat(stat: &Stat) -> pb::TopicStat {
    pb::TopicStat {
        topic: stat.topic.to_string(),
        position: Some(encode_position(stat.position)),
        floor: stat.floor,
        kept_messages: stat.kept_messages as u64,
        kept_bytes: stat.kept_bytes as u64,
    }
}

/// A connection.
pub fn connection(open: &OpenConnection) -> pb::BroadcastConnection {
    let info = &open.info;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    pb::BroadcastConnection {
        id: open.id,
        client: info.client.to_string(),
        encoding: info.encoding.as_str().to_owned(),
        topics: count(info.topics),
        patterns: count(info.patterns),
        waiting_bytes: info.waiting_bytes as u64,
        waiting_ms: u64::try_from(info.waiting.as_millis()).unwrap_or(u64::MAX),
        behind: count(info.behind),
        dropped: info.dropped,
    }
}

impl Broadcast {
    /// What is kept of a topic, from a position on.
    ///
    /// # Errors
    /// [`Refused`], with the field.
    pub fn history(&self, request: &pb::HistoryRequest) -> Result<pb::HistoryResponse, Refused> {
        let topic = TopicName::any(&request.topic)?;
        let mut answer = pb::HistoryResponse::default();
        let start = self.topics().start(&topic);
        let since = request.since.map(decode_position).or(start);
        let Some(mut at) = since else {
            return Ok(answer);
        };
        let most = match request.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        for _ in 0..BATCHES_MAX {
            match self.topics().read(&topic, at) {
                Read::UpToDate | Read::Ahead(_) => return Ok(answer),
                Read::Restarted(from) => {
                    answer.restarted = true;
                    at = from;
                }
                Read::Gap { from, to, .. } => {
                    answer.gap = Some(pb::Gap {
                        topic: topic.to_string(),
                        epoch: at.epoch.0,
                        from,
                        to,
                    });
                    at.offset = to;
                }
                Read::Batch(batch) => {
                    let read = batch_of(&batch.frame(Encoding::Grpc));
                    at = Position {
                        offset: last_offset(&read),
                        ..at
                    };
                    if append(&mut answer, read, most) {
                        break;
                    }
                }
            }
        }
        answer.more = self.topics().position(&topic).is_some_and(|last| {
            last.epoch == at.epoch && last.offset > told_offset(&answer).unwrap_or(at.offset)
        });
        Ok(answer)
    }

    /// Topics of this node by name; one, or all.
    ///
    /// # Errors
    /// [`Refused`], with the field.
    pub fn stats(
        &self,
        request: &pb::TopicStatsRequest,
    ) -> Result<pb::TopicStatsResponse, Refused> {
        let mut found = match &*request.topic {
            "" => self.topics().stats(),
            name => self
                .topics()
                .stat(&TopicName::any(name)?)
                .into_iter()
                .collect(),
        };
        found.sort_by(|one, other| one.topic.cmp(&other.topic));
        Ok(pb::TopicStatsResponse {
            topics: found.iter().map(stat).collect(),
        })
    }
}

/// What goes to subscribers, read back.
pub fn delivery(frame: &[u8]) -> Option<pb::Delivery> {
    use prost::Message as _;
    pb::Delivery::decode(frame).ok()
}

fn batch_of(frame: &[u8]) -> pb::Batch {
    match delivery(frame).and_then(|delivery| delivery.what) {
        Some(pb::delivery::What::Batch(batch)) => batch,
        _ => pb::Batch::default(),
    }
}

fn last_offset(batch: &pb::Batch) -> u64 {
    let last = batch.messages.last().map(|message| message.offset);
    last.unwrap_or(batch.after)
}

fn told_offset(answer: &pb::HistoryResponse) -> Option<u64> {
    answer.batch.as_ref().map(last_offset)
}

/// Adds messages to an answer; whether it is full.
fn append(answer: &mut pb::HistoryResponse, mut read: pb::Batch, most: usize) -> bool {
    use prost::Message as _;
    let told = answer.batch.get_or_insert_with(|| pb::Batch {
        messages: Vec::new(),
        ..read.clone()
    });
    told.conflated += if told.messages.is_empty() {
        0
    } else {
        read.conflated
    };
    told.messages.append(&mut read.messages);
    told.messages.truncate(most);
    told.messages.len() >= most || answer.encoded_len() >= ANSWER_BYTES_MAX
}
