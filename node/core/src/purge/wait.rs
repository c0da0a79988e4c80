//! For whom one waits who purges.

/// Until a purge is in force on how many nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// On the one that was asked.
    #[default]
    Local,
    /// On a majority of them.
    Quorum,
    /// On all of them, but for those that are away for long.
    All,
}

impl Wait {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Local, Self::Quorum, Self::All];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }

    /// The kind of that name; the empty one is the default.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        match text {
            "" => Some(Self::default()),
            _ => all.find(|wait| wait.as_str() == text),
        }
    }

    /// Whether enough of `total` nodes have said that it is in force, `acked` of them, the one that was asked
    /// included, when `away` others are not there to say so.
    pub const fn is_over(self, acked: usize, away: usize, total: usize) -> bool {
        match self {
            Self::Local => true,
            Self::Quorum => acked > total / 2,
            Self::All => acked + away >= total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_whoever_is_away() {
        let needed =
            |total| (1..=total).find(|acked| Wait::Quorum.is_over(*acked, total - acked, total));
        assert_eq!([1, 2, 3, 4, 5].map(needed), [1, 2, 2, 3, 3].map(Some));
    }

    #[test]
    fn all_are_all_that_are_there() {
        assert!(!Wait::All.is_over(2, 0, 3));
        assert!(Wait::All.is_over(3, 0, 3) && Wait::All.is_over(2, 1, 3));
        assert!(Wait::Local.is_over(1, 0, 3));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for wait in Wait::ALL {
            assert_eq!(Wait::parse(wait.as_str()), Some(wait));
        }
        assert_eq!(
            (Wait::parse(""), Wait::parse("most")),
            (Some(Wait::Local), None)
        );
    }
}
