//! Frames that go into a stream in place of the task that rests.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use weir_broadcast::{Encoding, Sent, Shard, Since, Sink, Topics, Writing};
use weir_core::broadcast::{Class, Limits};
use weir_core::cache::UnixMs;

use crate::client::{node, publish, topic, work};

/// A stream that takes frames as it is told to.
struct Stream {
    takes: Cell<Sent>,
    took: RefCell<Vec<Bytes>>,
}

impl Sink for Stream {
    fn send(&self, frame: &Bytes) -> Sent {
        if self.takes.get() != Sent::Busy {
            self.took.borrow_mut().push(frame.clone());
        }
        self.takes.get()
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection with a stream, and its task.
struct Stage {
    topics: Arc<Topics>,
    shard: Rc<Shard>,
    connection: weir_broadcast::Connection,
    stream: Rc<Stream>,
    wakes: Arc<Wakes>,
}

impl Stage {
    fn new(takes: Sent) -> Self {
        let (topics, shards) = node(Limits::default(), 1);
        let shard = Rc::clone(&shards[0]);
        let connection = shard.connect("test", Encoding::Json);
        let stream = Rc::new(Stream {
            takes: Cell::new(takes),
            took: RefCell::default(),
        });
        connection.send_into(Rc::clone(&stream) as _);
        let subscribed = connection.subscribe(&topic("a"), Since::Now, UnixMs(0));
        subscribed.unwrap();
        Self {
            topics,
            shard,
            connection,
            stream,
            wakes: Arc::default(),
        }
    }

    /// Whether the task finds something to do; else it rests.
    fn is_ready(&self) -> bool {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let ready = pin!(self.connection.ready());
        ready.poll(&mut Context::from_waker(&waker)) == Poll::Ready(())
    }

    fn publish(&self, bytes: usize, now: u64) {
        publish(&self.topics, "a", Class::Critical, bytes, now);
    }

    /// Frames that the task takes.
    fn taken(&self) -> usize {
        let mut writing = Writing::new();
        let taken = self.connection.take(&mut writing, || UnixMs(0));
        taken.unwrap();
        writing.frames()
    }

    /// Frames that went past the task, how often it was woken, and bytes that wait.
    fn seen(&self) -> (usize, usize, usize) {
        let wakes = self.wakes.0.load(Ordering::Relaxed);
        let waiting = self.shard.connections(UnixMs(0))[0].waiting_bytes;
        (self.stream.took.borrow().len(), wakes, waiting)
    }
}

#[test]
fn what_comes_for_a_task_that_rests_is_written_without_it() {
    let stage = Stage::new(Sent::Whole);
    assert!(!stage.is_ready());
    for number in 1..=3 {
        stage.publish(10, number);
        work(&stage.shard, number);
        assert_eq!(stage.seen(), (number as usize, 0, 0));
    }
    assert!(!stage.is_ready());
    assert_eq!(stage.taken(), 0);
    let took = stage.stream.took.borrow();
    let last = String::from_utf8_lossy(&took[2]);
    assert!(last.contains("\"offset\":3"), "{last}");
}

#[test]
fn what_is_written_in_part_is_charged_and_waited_for() {
    let stage = Stage::new(Sent::Begun);
    assert!(!stage.is_ready());
    stage.publish(10, 1);
    work(&stage.shard, 1);
    let (took, wakes, waiting) = stage.seen();
    assert_eq!((took, wakes), (1, 1));
    assert!(waiting > 10, "{waiting}");
    // Whatever the stream would take now, the rest of the first frame is before it.
    stage.stream.takes.set(Sent::Whole);
    stage.publish(10, 2);
    work(&stage.shard, 2);
    assert_eq!(stage.seen().0, 1);
    assert!(stage.is_ready());
    assert_eq!(stage.taken(), 1);
    assert!(!stage.is_ready());
    assert_eq!(stage.seen().2, 0);
}

#[test]
fn what_a_stream_does_not_take_waits_for_the_task_and_is_not_overtaken() {
    let stage = Stage::new(Sent::Busy);
    assert!(!stage.is_ready());
    stage.publish(10, 1);
    work(&stage.shard, 1);
    assert_eq!((stage.seen().0, stage.seen().1), (0, 1));
    stage.stream.takes.set(Sent::Whole);
    stage.publish(10, 2);
    work(&stage.shard, 2);
    assert_eq!(stage.seen().0, 0);
    assert!(stage.is_ready());
    assert_eq!(stage.taken(), 2);
}

#[test]
fn a_task_that_does_not_rest_writes_by_itself() {
    let stage = Stage::new(Sent::Whole);
    stage.publish(10, 1);
    work(&stage.shard, 1);
    assert_eq!(stage.seen().0, 0);
    assert!(stage.is_ready());
    assert_eq!(stage.taken(), 1);
}

#[test]
fn what_has_gathered_and_what_is_long_is_written_by_the_task() {
    let stage = Stage::new(Sent::Whole);
    assert!(!stage.is_ready());
    stage.publish(10, 1);
    stage.publish(10, 1);
    work(&stage.shard, 1);
    assert_eq!((stage.seen().0, stage.taken()), (0, 2));
    assert!(!stage.is_ready());
    stage.publish(32 << 10, 2);
    work(&stage.shard, 2);
    assert_eq!((stage.seen().0, stage.taken()), (0, 1));
}

#[test]
fn who_is_cut_gets_nothing_more() {
    let stage = Stage::new(Sent::Whole);
    assert!(!stage.is_ready());
    stage
        .connection
        .cut(weir_core::broadcast::CutReason::Operator);
    stage.publish(10, 1);
    work(&stage.shard, 1);
    assert_eq!(stage.seen().0, 0);
}
