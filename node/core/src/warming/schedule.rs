//! What is fetched when a schedule says so, and by which node.

use thiserror::Error;

use super::asked::{Asked, BadAsked};
use super::cron::{Cron, CronError, JITTER_MAX_MS};
use crate::proxy::Scheme;

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadSchedule {
    /// Its times.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// One of its URLs.
    #[error("{0}")]
    Url(#[from] BadUrl),
}

/// A text that names nothing that could be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadUrl(BadAsked);

/// Something to fetch: a URL, or a path of every host that routes name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A request.
    Url(Asked),
    /// A path with its query.
    Path(String),
}

impl Wanted {
    /// Reads a URL; what begins with a slash is a path.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        match text.starts_with('/') {
            false => Asked::of_url(text).map(Self::Url).map_err(BadUrl),
            true => {
                let is_path = Asked::new(Scheme::Http, "a", text);
                is_path.map(|_| Self::Path(text.to_owned())).map_err(BadUrl)
            }
        }
    }

    /// The requests that it stands for, if routes name these hosts.
    pub fn on(&self, hosts: &[String]) -> Vec<Asked> {
        match self {
            Self::Url(asked) => vec![asked.clone()],
            Self::Path(path) => {
                let path = Asked::new(Scheme::Http, "a", path).ok();
                let asked = path.iter().flat_map(|path| {
                    let asked = hosts.iter().map(|host| path.on_host(host));
                    asked.filter_map(Result::ok)
                });
                asked.collect()
            }
        }
    }
}

/// Times, and what is fetched then: `minute hour day-of-month month day-of-week [URL...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
    /// Empty: what is fetched at the start.
    pub wanted: Vec<Wanted>,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`BadSchedule`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadSchedule> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (times, urls) = words.split_at(words.len().min(5));
        let wanted = urls.iter().map(|url| Wanted::parse(url));
        Ok(Self {
            cron: Cron::parse(&times.join(" "))?,
            wanted: wanted.collect::<Result<_, _>>()?,
            text: words.join(" "),
        })
    }

    /// By which all nodes know it; the same text is the same job.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// When it is due for the first time after `unix_ms`: the time that the expression says, later by a jitter that
    /// all nodes draw alike, so that each of them asks at the same moment whose it is.
    pub fn next_after(&self, unix_ms: u64) -> Option<u64> {
        // A time whose jitter has not passed yet is still to come.
        let said = self
            .cron
            .next_after(unix_ms.saturating_sub(JITTER_MAX_MS))?;
        let due = said + self.jitter_ms(said);
        match due > unix_ms {
            true => Some(due),
            false => {
                let said = self.cron.next_after(said)?;
                Some(said + self.jitter_ms(said))
            }
        }
    }

    fn jitter_ms(&self, said: u64) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.text.as_bytes());
        hasher.update(&said.to_be_bytes());
        u64::from(hasher.finalize()) % (JITTER_MAX_MS + 1)
    }
}

/// When schedules run next. What was missed runs once, and nothing runs twice.
#[derive(Clone, Debug)]
pub struct Timetable {
    jobs: Vec<(Schedule, Option<u64>)>,
}

impl Timetable {
    /// These schedules, from `unix_ms` on.
    pub fn new(schedules: &[Schedule], unix_ms: u64) -> Self {
        let jobs = schedules.iter();
        Self {
            jobs: jobs
                .map(|schedule| (schedule.clone(), schedule.next_after(unix_ms)))
                .collect(),
        }
    }

    /// Other schedules: those that stay keep their turn.
    pub fn change(&mut self, schedules: &[Schedule], unix_ms: u64) {
        let before = std::mem::take(&mut self.jobs);
        *self = Self::new(schedules, unix_ms);
        for (schedule, next) in &mut self.jobs {
            if let Some((_, turn)) = before.iter().find(|(other, _)| other == schedule) {
                *next = *turn;
            }
        }
    }

    /// Those that are due; their next turn is the first one after `unix_ms`, however many were missed.
    pub fn take_due(&mut self, unix_ms: u64) -> Vec<Schedule> {
        let mut due = Vec::new();
        for (schedule, next) in &mut self.jobs {
            if next.is_some_and(|next| next <= unix_ms) {
                *next = schedule.next_after(unix_ms);
                due.push(schedule.clone());
            }
        }
        due
    }

    /// When something is due next.
    pub fn next(&self) -> Option<u64> {
        self.jobs.iter().filter_map(|(_, next)| *next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    /// 2026-03-01T12:00:00Z.
    const NOON: u64 = 1_772_366_400_000;

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).unwrap()
    }

    #[test]
    fn urls_and_paths_may_follow_the_times() {
        let read = schedule("0 6 * * *   http://a.example/x /y?z");
        assert_eq!(read.name(), "0 6 * * * http://a.example/x /y?z");
        let hosts = ["b.example".to_owned(), "c.example".to_owned()];
        let urls: Vec<_> = read
            .wanted
            .iter()
            .flat_map(|wanted| wanted.on(&hosts))
            .collect();
        let urls: Vec<_> = urls.iter().map(Asked::url).collect();
        let expected = [
            "http://a.example/x",
            "http://b.example/y?z",
            "http://c.example/y?z",
        ];
        assert_eq!(urls, expected);
        assert!(schedule("0 6 * * *").wanted.is_empty());
        for text in ["", "0 6 * *", "0 66 * * *", "0 6 * * * ftp://a/"] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_time_comes_once_within_its_jitter_whenever_one_asks() {
        let every = schedule("* * * * * http://a.example/");
        let (mut now, mut due) = (NOON, Vec::new());
        for _ in 0..200 {
            now = every.next_after(now).unwrap();
            due.push(now);
        }
        for (at, minute) in due.iter().zip(0..) {
            // Noon itself may still be to come.
            let said = at / MINUTE * MINUTE;
            assert!(at - said <= JITTER_MAX_MS, "{at}");
            assert_eq!(said / MINUTE, due[0] / MINUTE + minute);
        }
        for before in (NOON..due[5]).step_by(777) {
            assert_eq!(
                every.next_after(before),
                due.iter().copied().find(|d| *d > before)
            );
        }
    }

    #[test]
    fn what_was_missed_runs_once_and_nothing_runs_twice() {
        let schedules = [schedule("*/5 * * * *"), schedule("0 0 1 1 *")];
        let mut table = Timetable::new(&schedules, NOON);
        let due = table.next().unwrap();
        assert!(table.take_due(due - 1).is_empty());
        assert_eq!(table.take_due(due), schedules[..1]);
        assert!(table.take_due(due).is_empty());
        // Asleep for an hour.
        let late = due + 60 * MINUTE;
        assert_eq!(table.take_due(late), schedules[..1]);
        assert!(table.take_due(late).is_empty());
        assert!(table.next().unwrap() > late);
    }

    #[test]
    fn a_schedule_that_stays_keeps_its_turn() {
        let kept = schedule("*/5 * * * *");
        let mut table = Timetable::new(std::slice::from_ref(&kept), NOON);
        let due = table.next().unwrap();
        table.change(&[schedule("0 0 1 1 *"), kept.clone()], due + 1);
        assert_eq!(table.take_due(due + 1), std::slice::from_ref(&kept));
        table.change(&[kept], due + 2);
        assert!(table.take_due(due + 2).is_empty());
        table.change(&[], due + 2);
        assert_eq!(table.next(), None);
    }
}
