//! What engines wrote.

use std::collections::VecDeque;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::TryStreamExt;

use super::Docker;
use super::client::Failure;
use crate::driver::Error;

/// Longer lines are cut: engines dump whole messages.
const LINE_BYTES_MAX: usize = 4096;
const LINES_MAX: usize = 10_000;
const OPERATION: &str = "reading a container's log";

impl Docker {
    pub(super) async fn lines(&self, name: &str, lines_max: usize) -> Result<Vec<String>, Error> {
        match self.engine(name).await? {
            Some(engine) => self.lines_of(&engine.id, lines_max).await,
            None => Err(Error::Unknown(name.to_owned())),
        }
    }

    pub(super) async fn lines_of(&self, id: &str, lines_max: usize) -> Result<Vec<String>, Error> {
        let lines_max = lines_max.min(LINES_MAX);
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&lines_max.to_string())
            .build();
        let asked = self
            .client
            .call(OPERATION, self.answer_limit, async |docker| {
                let mut parts = docker.logs(id, Some(options));
                let mut lines = Lines::new(lines_max);
                while let Some(part) = parts.try_next().await? {
                    lines.take(part.as_ref());
                }
                Ok(lines.done())
            });
        match asked.await {
            Ok(lines) => Ok(lines),
            Err(Failure::Said { status: 404, .. }) => Err(Error::Unknown(id.to_owned())),
            Err(failure) => Err(failure.refused(OPERATION)),
        }
    }
}

/// Makes lines of parts that may end anywhere.
struct Lines {
    whole: VecDeque<String>,
    begun: Vec<u8>,
    max: usize,
}

impl Lines {
    fn new(max: usize) -> Self {
        Self {
            whole: VecDeque::new(),
            begun: Vec::new(),
            max,
        }
    }

    fn take(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun)
            .trim_end_matches('\r')
            .to_owned();
        self.begun.clear();
        self.whole.push_back(line);
        if self.whole.len() > self.max {
            self.whole.pop_front();
        }
    }

    fn done(mut self) -> Vec<String> {
        if !self.begun.is_empty() {
            self.end_line();
        }
        self.whole.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Lines};

    fn lines(parts: &[&str], max: usize) -> Vec<String> {
        let mut lines = Lines::new(max);
        for part in parts {
            lines.take(part.as_bytes());
        }
        lines.done()
    }

    #[test]
    fn lines_are_whole_wherever_parts_end() {
        assert_eq!(lines(&["a\nb", "c\r\n", "\nd"], 9), ["a", "bc", "", "d"]);
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(lines(&["a\nb\nc\n"], 2), ["b", "c"]);
        assert_eq!(lines(&["a\n"], 0), [""; 0]);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "x".repeat(LINE_BYTES_MAX * 2);
        let cut = lines(&[&long, &long, "\nb"], 9);
        assert_eq!((cut[0].len(), cut[1].as_str()), (LINE_BYTES_MAX, "b"));
    }
}
