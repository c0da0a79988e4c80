//! Lines of a file, from its end to its beginning, in bounded memory.

use memchr::memrchr_iter;

use super::line::LINE_BYTES_MAX;

/// Takes blocks of a file from its end to its beginning, and gives their lines, the last first.
///
/// Of a line that is longer than a line may be only its beginning is given.
#[derive(Debug, Default)]
pub struct Backwards {
    /// What is known of the line that the next block ends in.
    rest: Vec<u8>,
}

impl Backwards {
    /// Takes the block before those that came already. `each` gets lines until it says false; then this does too.
    pub fn take(&mut self, block: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> bool {
        let mut end = block.len();
        for at in memrchr_iter(b'\n', block) {
            let goes_on = self.give(&block[at + 1..end], &mut each);
            self.rest.clear();
            end = at;
            if !goes_on {
                return false;
            }
        }
        self.keep(&block[..end]);
        true
    }

    /// The beginning of the file was reached.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> bool {
        self.give(&[], &mut each)
    }

    /// One whole line: a part of this block, and what came after it.
    fn give(&mut self, part: &[u8], each: &mut impl FnMut(&[u8]) -> bool) -> bool {
        if part.is_empty() && self.rest.is_empty() {
            return true;
        }
        if self.rest.is_empty() {
            return each(&part[..part.len().min(LINE_BYTES_MAX)]);
        }
        self.keep(part);
        each(&self.rest)
    }

    /// Puts what comes before in front of what is known, and forgets what is too much of it.
    fn keep(&mut self, part: &[u8]) {
        let part = &part[..part.len().min(LINE_BYTES_MAX)];
        self.rest.truncate(LINE_BYTES_MAX - part.len());
        self.rest.splice(..0, part.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a text that is read in blocks of this length.
    fn lines(text: &[u8], block: usize) -> Vec<Vec<u8>> {
        let (mut backwards, mut found) = (Backwards::default(), Vec::new());
        let mut end = text.len();
        while end > 0 {
            let begin = end.saturating_sub(block);
            assert!(backwards.take(&text[begin..end], |line| {
                found.push(line.to_vec());
                true
            }));
            end = begin;
        }
        backwards.finish(|line| {
            found.push(line.to_vec());
            true
        });
        found
    }

    proptest! {
        #[test]
        fn lines_come_whole_and_last_first_however_the_file_is_cut(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300),
            block in 1_usize..40,
        ) {
            let mut expected: Vec<Vec<u8>> = text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            expected.reverse();
            prop_assert_eq!(lines(&text, block), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_bounded_and_keeps_its_beginning() {
        let mut text = b"first\n{\"begin".to_vec();
        text.resize(20 * LINE_BYTES_MAX, b'x');
        for block in [1_000, LINE_BYTES_MAX, 64 << 10] {
            let found = lines(&text, block);
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].len(), LINE_BYTES_MAX);
            assert!(found[0].starts_with(b"{\"beginx") && found[1] == b"first");
        }
        let mut backwards = Backwards::default();
        for _ in 0..100 {
            backwards.take(&[b'x'; 64 << 10], |_| true);
            assert!(backwards.rest.capacity() <= 4 * LINE_BYTES_MAX);
        }
    }

    #[test]
    fn who_has_enough_gets_no_more() {
        let mut backwards = Backwards::default();
        let mut found = 0;
        let goes_on = backwards.take(b"a\nb\nc\nd\n", |_| {
            found += 1;
            found < 2
        });
        assert!(!goes_on && found == 2);
    }
}
