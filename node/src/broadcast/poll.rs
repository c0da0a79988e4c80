//! Long poll: what follows a position, or what comes within a while.

use tokio::time::{Instant, timeout_at};
use weir_broadcast::Writing;
use weir_core::broadcast::{CutReason, Positions};

use super::opening::Opening;
use super::session::Session;
use super::stream::split_id;

/// Bytes of an answer; one delivery more may be in it.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The answer to a poll: deliveries as JSON, and where the next poll goes on.
///
/// # Errors
///
/// When the subscriber was cut meanwhile.
pub(crate) async fn answer(session: Session, opening: &Opening) -> Result<String, CutReason> {
    let mut answer = Answer {
        positions: session.positions(opening),
        deliveries: Vec::new(),
        bytes: 0,
    };
    let until = Instant::now() + opening.wait;
    let mut writing = Writing::new();
    while !answer.is_full(opening.limit) {
        // What is there already is taken without waiting; what follows is the next poll's.
        let until = match answer.deliveries.is_empty() {
            true => until,
            false => Instant::now(),
        };
        if timeout_at(until, session.connection().ready())
            .await
            .is_err()
        {
            break;
        }
        let now = || session.broadcast().now();
        session.connection().take(&mut writing, now)?;
        while let Some(event) = writing.pop() {
            // What does not fit is read from history by the next poll.
            if !answer.is_full(opening.limit) {
                answer.add(&event);
            }
        }
    }
    Ok(answer.into_json())
}

struct Answer {
    positions: Positions,
    deliveries: Vec<String>,
    bytes: usize,
}

impl Answer {
    fn is_full(&self, limit: usize) -> bool {
        self.deliveries.len() >= limit || self.bytes >= ANSWER_BYTES_MAX
    }

    fn add(&mut self, event: &[u8]) {
        let (told, rest) = split_id(event);
        for (topic, position) in told.iter().flat_map(Positions::iter) {
            self.positions.set(topic, position);
        }
        let rest = std::str::from_utf8(rest).unwrap_or_default();
        let data = rest.lines().find_map(|line| line.strip_prefix("data: "));
        // That nothing is missing is what no gap says.
        let news = data
            .filter(|data| !data.starts_with("{\"recovered\":") || !data.contains("\"ok\":true"));
        if let Some(data) = news {
            self.bytes += data.len();
            self.deliveries.push(data.to_owned());
        }
    }

    fn into_json(self) -> String {
        let deliveries = self.deliveries.join(",");
        format!(
            "{{\"next\":\"{}\",\"deliveries\":[{deliveries}]}}\n",
            self.positions
        )
    }
}
