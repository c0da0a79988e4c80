//! Who is connected to this instance.
//!
//! One lock, taken when a node comes, leaves or is asked something, and for a list of all; never while anything is
//! waited for. What a node says of itself is published by its session alone, in its own [`Live`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;
use weir_proto::control::v1 as pb;

use super::conflicts::Conflicts;
use crate::quota::Exceeded;

/// Most streams of one instance.
pub const STREAMS_MAX: usize = 20_000;
/// Streams that are let in within a second; more are told to come back.
pub(super) const ADMITTED_PER_SECOND: u32 = 2_000;
const SECOND: Duration = Duration::from_secs(1);
/// The latest turn of who is told to come back.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Questions that wait for one node.
const QUESTIONS_WAITING_MAX: usize = 8;
/// How long a node may take to answer one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connected node says of itself.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Of its tuning profile.
    pub profile: pb::ProfileState,
    /// When it said so.
    pub profile_at_unix_ms: u64,
    /// It owes an answer for longer than [`super::lane::STALE_AFTER`].
    pub stale: bool,
    /// Its last heartbeat.
    pub heartbeat: Option<pb::NodeHeartbeat>,
}

/// A command for a node, and where its answer goes.
pub(super) struct Question {
    pub(super) command: pb::command::Command,
    pub(super) answer: oneshot::Sender<pb::CommandResult>,
}

/// A connected node, as others see it.
#[derive(Clone)]
struct Entry {
    boot_id: Arc<str>,
    serial: u64,
    questions: mpsc::Sender<Question>,
    live: Arc<ArcSwap<Live>>,
}

/// What a session holds of its place.
pub(super) struct Place {
    pub(super) serial: u64,
    pub(super) live: Arc<ArcSwap<Live>>,
    /// Ends when a younger process of the same node, or a younger stream of the same process, took the place.
    pub(super) questions: mpsc::Receiver<Question>,
}

/// Why a node is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A younger process has its id.
    Superseded,
    /// Too many come at once; this one's turn is after this wait.
    Crowded(Duration),
    /// Too many are here.
    Full,
    /// There are as many as there may be.
    Exceeded(Exceeded),
}

/// Everyone who is connected. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    by_node: HashMap<String, Entry>,
    next_serial: u64,
    second: Option<Instant>,
    admitted: u32,
    conflicts: Conflicts,
}

impl Inner {
    /// Lets in as many as a second may have. The others are told turns that come at the same pace, so that they do not
    /// come back together.
    fn admit(&mut self, now: Instant) -> Result<(), Closed> {
        let same_second = self
            .second
            .is_some_and(|begun| now.duration_since(begun) < SECOND);
        if !same_second {
            (self.second, self.admitted) = (Some(now), 0);
        }
        self.admitted = self.admitted.saturating_add(1);
        match self.admitted.saturating_sub(ADMITTED_PER_SECOND) {
            0 => Ok(()),
            turn => {
                let wait = SECOND + SECOND * turn / ADMITTED_PER_SECOND;
                Err(Closed::Crowded(wait.min(TURN_MAX)))
            }
        }
    }
}

impl Sessions {
    /// Gives a node its place, and ends whoever had it.
    pub(super) async fn enter(
        &self,
        node_id: &str,
        boot_id: &str,
        profile: pb::ProfileState,
        now: Instant,
        now_unix_ms: u64,
    ) -> Result<Place, Closed> {
        let (questions, asked) = mpsc::channel(QUESTIONS_WAITING_MAX);
        let live = Arc::new(ArcSwap::from_pointee(Live {
            profile,
            profile_at_unix_ms: now_unix_ms,
            ..Live::default()
        }));
        let mut inner = self.0.inner.lock().await;
        inner.admit(now)?;
        match inner.by_node.get(node_id) {
            Some(other) if &*other.boot_id > boot_id => return Err(Closed::Superseded),
            None if inner.by_node.len() >= STREAMS_MAX => return Err(Closed::Full),
            _ => {}
        }
        inner.next_serial += 1;
        let serial = inner.next_serial;
        let entry = Entry {
            boot_id: boot_id.into(),
            serial,
            questions,
            live: Arc::clone(&live),
        };
        inner.by_node.insert(node_id.to_owned(), entry);
        drop(inner);
        self.changed();
        Ok(Place {
            serial,
            live,
            questions: asked,
        })
    }

    /// Gives a place back; true if nobody else has taken it.
    pub(super) async fn leave(&self, node_id: &str, serial: u64) -> bool {
        let mut inner = self.0.inner.lock().await;
        let is_ours = inner
            .by_node
            .get(node_id)
            .is_some_and(|entry| entry.serial == serial);
        if is_ours {
            inner.by_node.remove(node_id);
        }
        drop(inner);
        self.changed();
        is_ours
    }

    /// Whether a node is connected here.
    pub async fn has(&self, node_id: &str) -> bool {
        self.0.inner.lock().await.by_node.contains_key(node_id)
    }

    /// What a node that is connected here says of itself.
    pub async fn live(&self, node_id: &str) -> Option<Arc<Live>> {
        let inner = self.0.inner.lock().await;
        inner
            .by_node
            .get(node_id)
            .map(|entry| entry.live.load_full())
    }

    /// What every node that is connected here says of itself.
    pub async fn all(&self) -> HashMap<String, Arc<Live>> {
        let inner = self.0.inner.lock().await;
        let copy = |(id, entry): (&String, &Entry)| (id.clone(), entry.live.load_full());
        inner.by_node.iter().map(copy).collect()
    }

    /// Notes that a process was sent away because a younger one has its id.
    pub(super) async fn note_conflict(&self, node_id: &str, from: &str, now_unix_ms: u64) {
        let mut inner = self.0.inner.lock().await;
        inner.conflicts.note(node_id, from, now_unix_ms);
        drop(inner);
        self.changed();
    }

    /// What is told of processes with one id that were sent away here; empty for most.
    pub async fn conflicts(&self, node_ids: &[&str], now_unix_ms: u64) -> Vec<String> {
        let inner = self.0.inner.lock().await;
        let of = |id: &&str| inner.conflicts.of(id, now_unix_ms);
        node_ids.iter().map(of).collect()
    }

    /// How many are connected here.
    pub async fn count(&self) -> usize {
        self.0.inner.lock().await.by_node.len()
    }

    /// Wakes when a node came, left or said something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Asks a node that is connected here.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn ask(
        &self,
        node_id: &str,
        command: pb::command::Command,
    ) -> Result<pb::CommandResult, String> {
        let questions = {
            let inner = self.0.inner.lock().await;
            inner
                .by_node
                .get(node_id)
                .map(|entry| entry.questions.clone())
        };
        let Some(questions) = questions else {
            return Err(format!("`{node_id}` is not connected to this instance"));
        };
        let (answer, answered) = oneshot::channel();
        questions
            .try_send(Question { command, answer })
            .map_err(|_| format!("`{node_id}` has {QUESTIONS_WAITING_MAX} questions to answer"))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(result)) if result.error.is_empty() => Ok(result),
            Ok(Ok(result)) => Err(result.error),
            Ok(Err(_)) => Err(format!("`{node_id}` left")),
            Err(_) => Err(format!(
                "`{node_id}` did not answer within {ANSWER_TIMEOUT:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enter(sessions: &Sessions, node: &str, boot: &str) -> Result<Place, Closed> {
        let profile = pb::ProfileState::default();
        sessions.enter(node, boot, profile, Instant::now(), 0).await
    }

    fn report() -> pb::command::Command {
        pb::command::Command::ReportEffective(pb::ReportEffective {})
    }

    #[tokio::test]
    async fn a_younger_process_takes_the_place_and_an_older_one_does_not() {
        let sessions = Sessions::default();
        let mut first = enter(&sessions, "a", "2").await.unwrap();
        assert_eq!(
            enter(&sessions, "a", "1").await.err(),
            Some(Closed::Superseded)
        );
        assert!(
            first
                .questions
                .try_recv()
                .is_err_and(|e| e == mpsc::error::TryRecvError::Empty)
        );
        // The same process comes back before its old stream is known to be dead.
        let mut again = enter(&sessions, "a", "2").await.unwrap();
        assert!(
            first.questions.recv().await.is_none(),
            "it is told that it lost its place"
        );
        let younger = enter(&sessions, "a", "3").await.unwrap();
        assert!(again.questions.recv().await.is_none());
        // Who lost the place does not give it back for another.
        assert!(!sessions.leave("a", again.serial).await);
        assert!(sessions.has("a").await);
        assert!(sessions.leave("a", younger.serial).await);
        assert_eq!(
            (sessions.count().await, sessions.has("a").await),
            (0, false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_at_once_are_told_to_come_back_and_those_who_do_are_let_in() {
        let sessions = Sessions::default();
        let mut places = Vec::new();
        for node in 0..ADMITTED_PER_SECOND {
            places.push(enter(&sessions, &node.to_string(), "1").await.unwrap());
        }
        let late = enter(&sessions, "late", "1").await.err();
        assert!(matches!(late, Some(Closed::Crowded(_))), "{late:?}");
        assert_eq!(sessions.count().await, places.len());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(enter(&sessions, "late", "1").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_is_full_lets_only_those_in_who_have_a_place() {
        let sessions = Sessions::default();
        let mut places = Vec::new();
        for node in 0..STREAMS_MAX {
            if node % ADMITTED_PER_SECOND as usize == 0 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            places.push(enter(&sessions, &node.to_string(), "1").await.unwrap());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            enter(&sessions, "more", "1").await.err(),
            Some(Closed::Full)
        );
        assert!(enter(&sessions, "7", "2").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_answered_or_ends_by_itself() {
        let sessions = Sessions::default();
        let unknown = sessions.ask("a", report()).await.unwrap_err();
        assert!(unknown.contains("not connected"), "{unknown}");
        let mut place = enter(&sessions, "a", "1").await.unwrap();
        let asked = sessions.ask("a", report());
        let answering = async {
            let question = place.questions.recv().await.unwrap();
            let result = pb::CommandResult {
                id: "1".to_owned(),
                ..pb::CommandResult::default()
            };
            question.answer.send(result).unwrap();
        };
        let (answered, ()) = tokio::join!(asked, answering);
        assert_eq!(answered.unwrap().id, "1");

        let silent = sessions.ask("a", report()).await.unwrap_err();
        assert!(silent.contains("did not answer"), "{silent}");
        // One waits already. What is more than may wait is refused at once.
        for _ in 1..QUESTIONS_WAITING_MAX {
            let late = sessions.ask("a", report()).await.unwrap_err();
            assert!(late.contains("did not answer"), "{late}");
        }
        let since = Instant::now();
        let full = sessions.ask("a", report()).await.unwrap_err();
        assert!(full.contains("questions to answer"), "{full}");
        assert_eq!(since.elapsed(), Duration::ZERO);
        let dropping = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            while let Ok(question) = place.questions.try_recv() {
                drop(question);
            }
        };
        dropping.await;
        let asked = sessions.ask("a", report());
        let leaving = async { drop(place.questions.recv().await.unwrap()) };
        let (left, ()) = tokio::join!(asked, leaving);
        assert!(left.unwrap_err().contains("left"));
    }

    #[test]
    fn who_is_too_much_for_a_second_gets_a_turn_of_its_own() {
        let mut inner = Inner::default();
        let now = Instant::now();
        for _ in 0..ADMITTED_PER_SECOND {
            assert_eq!(inner.admit(now), Ok(()));
        }
        let mut earlier = SECOND;
        for _ in 0..ADMITTED_PER_SECOND {
            let Err(Closed::Crowded(turn)) = inner.admit(now) else {
                panic!("one too many was let in");
            };
            assert!(turn > earlier && turn <= SECOND * 2, "{turn:?}");
            earlier = turn;
        }
        assert_eq!(inner.admit(now + SECOND), Ok(()), "a second later");
    }
}
