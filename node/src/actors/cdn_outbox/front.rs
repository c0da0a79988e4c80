//! One CDN: what it has not taken yet, and how fast it may be asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_core::backoff::Backoff;
use weir_core::error::chain;
use weir_core::surrogate::{Added, CdnPurge, CdnRequest, NotForThisCdn, Outbox, TokenBucket, Told};

use super::CdnStanding;
use crate::cdn::{Answer, SendError};
use crate::config::CdnSettings;

/// Requests to one CDN at a time.
const REQUESTS_MAX: usize = 4;
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);
const MINUTE_MS: u32 = 60_000;

pub(super) struct Front {
    settings: Arc<CdnSettings>,
    outbox: Outbox,
    bucket: TokenBucket,
    backoff: Backoff,
    /// Requests that are made and not sent yet, with the numbers of the purges that they carry.
    ready: VecDeque<(CdnRequest, Vec<u64>)>,
    refused: Vec<(u64, NotForThisCdn)>,
    under_way: usize,
    not_before_ms: u64,
    told: u64,
    never: u64,
    failures: u64,
    problem: String,
}

impl Front {
    pub(super) fn new(settings: &CdnSettings, now_ms: u64, seed: u64) -> Self {
        Self {
            settings: Arc::new(settings.clone()),
            outbox: Outbox::default(),
            bucket: bucket(settings, now_ms),
            backoff: Backoff::new(WAIT_MIN..=WAIT_MAX, fastrand::Rng::with_seed(seed)),
            ready: VecDeque::new(),
            refused: Vec::new(),
            under_way: 0,
            not_before_ms: 0,
            told: 0,
            never: 0,
            failures: 0,
            problem: String::new(),
        }
    }

    /// The same with other settings, which count at once: what was wrong may be mended.
    pub(super) fn configured(mut self, settings: &CdnSettings, now_ms: u64) -> Self {
        if *self.settings == *settings {
            return self;
        }
        if self.settings.requests_per_minute != settings.requests_per_minute {
            self.bucket = bucket(settings, now_ms);
        }
        self.settings = Arc::new(settings.clone());
        self.not_before_ms = 0;
        self.outbox.hurry();
        // What need not be sent any more is sent once more after the next start: too much, and never too little.
        self.take_back();
        self
    }

    pub(super) fn settings(&self) -> Arc<CdnSettings> {
        Arc::clone(&self.settings)
    }

    pub(super) fn add(&mut self, purge: CdnPurge, number: u64, now_ms: u64) -> Added {
        self.outbox.add(purge, number, now_ms)
    }

    pub(super) fn restore(&mut self, number: u64, purge: CdnPurge, now_ms: u64) {
        self.outbox.restore(number, purge, now_ms);
    }

    pub(super) fn ready(&mut self, number: u64) {
        self.outbox.ready(number);
    }

    /// Whether something of it is not done yet.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way > 0 || !self.outbox.is_empty()
    }

    /// The next request, if one may be sent now.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<(CdnRequest, Vec<u64>)> {
        if self.under_way >= REQUESTS_MAX || now_ms < self.not_before_ms {
            return None;
        }
        if self.ready.is_empty() {
            self.make_requests(now_ms);
        }
        if self.ready.is_empty() || self.bucket.take(now_ms).is_err() {
            return None;
        }
        self.under_way += 1;
        self.ready.pop_front()
    }

    fn make_requests(&mut self, now_ms: u64) {
        let taken = self.outbox.take(now_ms);
        self.make_requests_of(taken.together);
        for one in taken.alone {
            self.make_requests_of(vec![one]);
        }
    }

    fn make_requests_of(&mut self, purges: Vec<(u64, CdnPurge)>) {
        let (numbers, purges): (Vec<u64>, Vec<CdnPurge>) = purges.into_iter().unzip();
        let (requests, refused) = self.settings.cdn.requests(&purges);
        for request in requests {
            let carried = request.carries.iter().map(|at| numbers[*at]).collect();
            self.ready.push_back((request, carried));
        }
        for why in refused {
            self.outbox.done(&[numbers[why.at]]);
            self.never += 1;
            self.problem = why.to_string();
            self.refused.push((numbers[why.at], why));
        }
    }

    /// Purges that this CDN has no request for, since the last time.
    pub(super) fn refused(&mut self) -> Vec<(u64, NotForThisCdn)> {
        std::mem::take(&mut self.refused)
    }

    /// What an answer means for the purges of its request, and which of all are done with it.
    pub(super) fn answered(
        &mut self,
        numbers: &[u64],
        answer: &Result<Answer, SendError>,
        now_ms: u64,
    ) -> (Told, Vec<u64>) {
        self.under_way = self.under_way.saturating_sub(1);
        let told = match answer {
            Ok(answer) => self.settings.cdn.told(answer.status, answer.retry_after_s),
            Err(_) => Told::Again(None),
        };
        // Which one of several will never be taken, nobody says.
        let told = match told {
            Told::Never if numbers.len() > 1 => Told::Apart,
            told => told,
        };
        self.problem = match (told, answer) {
            (Told::Done, _) => String::new(),
            (_, Ok(answer)) => format!("{} {}", answer.status, answer.text)
                .trim()
                .to_owned(),
            (_, Err(error)) => chain(error).to_string(),
        };
        (told, self.settle(told, numbers, now_ms))
    }

    fn settle(&mut self, told: Told, numbers: &[u64], now_ms: u64) -> Vec<u64> {
        match told {
            Told::Done => {
                self.told += numbers.len() as u64;
                self.outbox.done(numbers);
                self.backoff.reset();
                numbers.to_vec()
            }
            Told::Never => {
                self.never += numbers.len() as u64;
                self.outbox.done(numbers);
                numbers.to_vec()
            }
            Told::Apart => {
                self.failures += 1;
                self.outbox.apart(numbers, now_ms)
            }
            Told::Again(wait_ms) => {
                self.failures += 1;
                let own_ms = u64::try_from(self.backoff.next_wait().as_millis());
                let wait_ms = wait_ms.unwrap_or(own_ms.unwrap_or(u64::MAX));
                self.not_before_ms = self.not_before_ms.max(now_ms.saturating_add(wait_ms));
                let mut superfluous = self.outbox.again(numbers);
                superfluous.extend(self.take_back());
                superfluous
            }
        }
    }

    /// Requests that were made become purges that wait; those that need not be sent any more.
    fn take_back(&mut self) -> Vec<u64> {
        let made = std::mem::take(&mut self.ready);
        let numbers = made.into_iter().flat_map(|(_, numbers)| numbers);
        self.outbox.again(&numbers.collect::<Vec<_>>())
    }

    pub(super) fn is_failing(&self) -> bool {
        !self.problem.is_empty()
    }

    pub(super) fn problem(&self) -> &str {
        &self.problem
    }

    pub(super) fn standing(&self, now_ms: u64) -> CdnStanding {
        CdnStanding {
            name: self.settings.name.clone(),
            waiting: self.outbox.len() as u64,
            told: self.told,
            refused: self.never,
            failures: self.failures,
            oldest_s: self.outbox.oldest_ms(now_ms) / 1_000,
            problem: self.problem.clone(),
        }
    }
}

/// A twelfth of a minute's requests may go at once.
fn bucket(settings: &CdnSettings, now_ms: u64) -> TokenBucket {
    let rate = settings.requests_per_minute;
    TokenBucket::new(rate, MINUTE_MS, (rate / 12).max(1), now_ms)
}
