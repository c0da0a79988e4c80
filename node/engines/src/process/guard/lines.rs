//! Output as lines that wait to be written: each of bounded length, all of them of bounded size.

/// The longest line, bytes; what follows is cut.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;
/// What may wait, bytes. When it is more, the oldest half is lost: the newest lines are those that are asked for.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// Lines on their way from an engine to its file.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Vec<u8>,
    current: Vec<u8>,
    last: Vec<u8>,
    lost: u64,
}

impl Lines {
    /// Takes what the engine wrote.
    pub(super) fn push(&mut self, output: &[u8]) {
        for part in output.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_BYTES_MAX - self.current.len();
            self.current
                .extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    /// The output ended, maybe within a line.
    pub(super) fn finish(&mut self) {
        if !self.current.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.waiting.len() + self.current.len() >= WAITING_BYTES_MAX {
            self.lose_oldest();
        }
        self.waiting.extend_from_slice(&self.current);
        self.waiting.push(b'\n');
        if !self.current.trim_ascii().is_empty() {
            std::mem::swap(&mut self.last, &mut self.current);
        }
        self.current.clear();
    }

    fn lose_oldest(&mut self) {
        let half = self.waiting.len() / 2;
        let behind = self.waiting[half..].iter().position(|byte| *byte == b'\n');
        let end = behind.map_or(self.waiting.len(), |at| half + at + 1);
        self.lost += count(&self.waiting[..end]);
        self.waiting.drain(..end);
    }

    /// Whether something waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits, and how many lines were lost before it since the last time.
    pub(super) fn take(&mut self) -> (Vec<u8>, u64) {
        (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.lost),
        )
    }

    /// The last line with something in it.
    pub(super) fn last(&self) -> String {
        String::from_utf8_lossy(&self.last).into_owned()
    }
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    let ends = lines.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(ends).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut lines = Lines::default();
        for part in ["on", "e\ntwo\n", "\nthr", "ee"] {
            lines.push(part.as_bytes());
        }
        assert_eq!(lines.take().0, b"one\ntwo\n\n");
        lines.finish();
        lines.finish();
        assert_eq!(lines.take(), (b"three\n".to_vec(), 0));
        assert_eq!(lines.last(), "three");
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let mut lines = Lines::default();
        for _ in 0..3 {
            lines.push(&[b'x'; LINE_BYTES_MAX / 2]);
        }
        lines.push(b"\nnext\n");
        let (taken, lost) = lines.take();
        assert_eq!(taken.len(), LINE_BYTES_MAX + 1 + b"next\n".len());
        assert!(taken.ends_with(b"x\nnext\n"));
        assert_eq!(lost, 0);
    }

    #[test]
    fn when_too_much_waits_the_oldest_are_lost_and_counted() {
        let mut lines = Lines::default();
        for line in 0..100_000 {
            lines.push(format!("{line}\n").as_bytes());
            assert!(lines.waiting.len() <= WAITING_BYTES_MAX);
        }
        let (taken, lost) = lines.take();
        assert_eq!(count(&taken) + lost, 100_000);
        assert!(lost > 0 && taken.ends_with(b"\n99999\n"));
        assert!(taken.starts_with(format!("{lost}\n").as_bytes()));
    }

    #[test]
    fn an_empty_line_is_not_the_last_word() {
        let mut lines = Lines::default();
        lines.push(b"why\n \n\n");
        assert_eq!(lines.last(), "why");
    }
}
