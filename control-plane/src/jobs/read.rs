//! Shows jobs.

use std::collections::BTreeSet;

use bytes::Bytes;
use weir_core::tuning::Code;

use super::cancel::not_found;
use super::error::Error;
use super::local::Jobs;
use super::moves::Open;
use super::rules::state_at;
use super::types::{Job, JobList, JobPage, State};
use crate::keys::{JobKeys, check_job_id};
use crate::problem::refused;
use crate::store::List;
use crate::store::limits::PAGE_ENTRIES_MAX;

/// Where jobs are, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    Dead,
    Done,
}

impl Place {
    const ALL: [Self; 3] = [Self::Open, Self::Dead, Self::Done];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Dead => "dead",
            Self::Done => "done",
        }
    }

    fn prefix(self, keys: &JobKeys) -> Bytes {
        match self {
            Self::Open => keys.all_open(),
            Self::Dead => keys.all_dead(),
            Self::Done => keys.all_done(),
        }
    }

    fn states(self) -> &'static [State] {
        match self {
            Self::Open => &[State::Ready, State::Waiting, State::Claimed],
            Self::Dead => &[State::Dead],
            Self::Done => &[State::Done, State::Cancelled],
        }
    }

    fn after(self) -> Option<Self> {
        match self {
            Self::Open => Some(Self::Dead),
            Self::Dead => Some(Self::Done),
            Self::Done => None,
        }
    }
}

impl Jobs {
    pub(super) async fn find(&self, queue: &str, job_id: &str) -> Result<Job, Error> {
        check_job_id(job_id)?;
        let keys = self.keys.jobs(queue)?;
        let read = [keys.job(job_id), keys.dead(job_id), keys.done(job_id)];
        let [open, dead, done] = self.read(read).await?;
        let found = open.or(dead).or(done).ok_or_else(|| not_found(job_id))?;
        Ok(self.shown(Open::of(&found)?.job))
    }

    pub(super) async fn page(&self, list: JobList) -> Result<JobPage, Error> {
        let keys = self.keys.jobs(&list.queue)?;
        let (begin, id) = begin(&list)?;
        check_count(list.entries_max)?;
        let wants = |state: &State| list.states.is_empty() || list.states.contains(state);
        let first_wanted = |from: Option<Place>| {
            let mut places = std::iter::successors(from, |place| place.after());
            places.find(|place| place.states().iter().any(wants))
        };
        let Some(place) = first_wanted(Some(begin)) else {
            return Ok(JobPage::default());
        };
        let prefix = place.prefix(&keys);
        let is_here = list.after.starts_with(place.name());
        let after = id.filter(|_| is_here);
        let after = after.map(|id| Bytes::from([&*prefix, id.as_bytes()].concat()));
        let page = self.store.list(List {
            prefix: prefix.clone(),
            after,
            at: None,
            entries_max: list.entries_max,
        });
        let page = page.await?;
        let last = page.entries.last();
        let last = last.and_then(|entry| JobKeys::job_id_below(&prefix, &entry.key));
        let next = match last.filter(|_| page.more) {
            Some(last) => format!("{}/{last}", place.name()),
            None => {
                let after = first_wanted(place.after());
                after.map_or_else(String::new, |after| format!("{}/", after.name()))
            }
        };
        let mut jobs = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let mut job = self.shown(Open::of(entry)?.job);
            if let Some(spec) = &mut job.spec {
                spec.payload.clear();
            }
            if wants(&job.state()) {
                jobs.push(job);
            }
        }
        Ok(JobPage { jobs, next })
    }

    fn shown(&self, mut job: Job) -> Job {
        let state = state_at(&job, self.now_unix_ms());
        job.set_state(state);
        job
    }

    /// The queues that there are or were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queues(&self) -> Result<BTreeSet<String>, Error> {
        let mut queues = BTreeSet::new();
        let mut list = List {
            prefix: self.keys.job_queues(),
            entries_max: 1,
            ..List::default()
        };
        loop {
            let page = self.store.list(list.clone()).await?;
            let Some(entry) = page.entries.first() else {
                return Ok(queues);
            };
            list.after = Some(match self.keys.job_queue_of(&entry.key) {
                Some(queue) => {
                    queues.insert(queue.to_owned());
                    self.keys.after_job_queue(queue)
                }
                None => entry.key.clone(),
            });
        }
    }
}

/// Where a page begins: a place, and the id after which.
fn begin(list: &JobList) -> Result<(Place, Option<&str>), Error> {
    if list.after.is_empty() {
        return Ok((Place::Open, None));
    }
    let begin = list.after.split_once('/').and_then(|(name, id)| {
        let place = Place::ALL.into_iter().find(|place| place.name() == name)?;
        let is_id = id.is_empty() || check_job_id(id).is_ok();
        is_id.then_some((place, Some(id).filter(|id| !id.is_empty())))
    });
    begin.ok_or_else(|| {
        let message = "is not what a page said comes next";
        let bound = "what the page before said, or nothing";
        Error::Problems(vec![refused(
            "after",
            Code::Type,
            message,
            &list.after,
            bound,
        )])
    })
}

fn check_count(entries_max: usize) -> Result<(), Error> {
    if (1..=PAGE_ENTRIES_MAX).contains(&entries_max) {
        return Ok(());
    }
    let (message, bound) = ("is out of bounds", format!("1 to {PAGE_ENTRIES_MAX}"));
    let problem = refused("entries_max", Code::Range, message, entries_max, bound);
    Err(Error::Problems(vec![problem]))
}
