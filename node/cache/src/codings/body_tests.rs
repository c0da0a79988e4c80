use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::tests::{decoded, decoded_so_far, noise, text};
use super::{Coding, CodingError, CompressedBody, Encoder, Level};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TestError {
    #[error("the backend broke off")]
    Broken,
    #[error("coding")]
    Coding(#[from] CodingError),
}

enum Event {
    Data(Bytes),
    Trailers(HeaderMap),
    Pause,
    Break,
}

/// What a backend does, poll by poll.
struct Script(VecDeque<Event>);

impl Body for Script {
    type Data = Bytes;
    type Error = TestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TestError>>> {
        match self.0.pop_front() {
            Some(Event::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Event::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Event::Break) => Poll::Ready(Some(Err(TestError::Broken))),
            Some(Event::Pause) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1)
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Client {
    body: CompressedBody<Script>,
    wakes: Arc<Wakes>,
    got: Vec<u8>,
}

impl Client {
    fn of(coding: Coding, events: impl IntoIterator<Item = Event>) -> Self {
        let encoder = Encoder::new(coding, Level::new(6)).unwrap();
        Self {
            body: CompressedBody::new(Script(events.into_iter().collect()), encoder),
            wakes: Arc::default(),
            got: Vec::new(),
        }
    }

    fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, TestError>>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    /// Data until there are none for now, or something else comes.
    fn read(&mut self) -> Poll<Option<Result<HeaderMap, TestError>>> {
        loop {
            let wakes = self.wakes();
            match self.poll() {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        assert!(!data.is_empty(), "an empty frame says nothing");
                        self.got.extend_from_slice(&data);
                    }
                    Err(frame) => return Poll::Ready(frame.into_trailers().ok().map(Ok)),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if self.wakes() > wakes => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn data(bytes: &[u8]) -> Event {
    Event::Data(Bytes::copy_from_slice(bytes))
}

#[test]
fn a_body_arrives_whole_in_every_coding() {
    for coding in Coding::MADE {
        for sent in [text(300_000), noise(300_000), Vec::new()] {
            let mut client = Client::of(coding, sent.chunks(7_000).map(data));
            assert!(!client.body.is_end_stream());
            assert_eq!(client.read(), Poll::Ready(None));
            assert!(client.body.is_end_stream());
            assert_eq!(decoded(coding, &client.got), sent, "{coding:?}");
        }
    }
}

#[test]
fn a_client_has_what_was_sent_when_the_backend_pauses() {
    for coding in Coding::MADE {
        let events = [
            Event::Pause,
            data(b"data: 1\n\n"),
            Event::Pause,
            data(b"data: 2\n\n"),
            data(b"data: 3\n\n"),
            Event::Pause,
            Event::Pause,
        ];
        let mut client = Client::of(coding, events);
        assert_eq!(client.read(), Poll::Pending);
        assert_eq!(client.got, b"", "{coding:?} sent before it had anything");
        // A pause that follows on data is used up by the flush: the body is asked again after it.
        assert_eq!(client.read(), Poll::Pending);
        let seen = decoded_so_far(coding, &client.got);
        assert_eq!(seen, b"data: 1\n\ndata: 2\n\ndata: 3\n\n", "{coding:?}");
        assert_eq!(client.read(), Poll::Ready(None));
        assert_eq!(decoded(coding, &client.got), seen);
    }
}

#[test]
fn a_pause_gives_out_the_first_event_before_the_second_is_there() {
    for coding in Coding::MADE {
        let mut client = Client::of(coding, [data(b"data: 1\n\n"), Event::Pause]);
        let Poll::Ready(Some(Ok(frame))) = client.poll() else {
            panic!("{coding:?} kept it");
        };
        let seen = decoded_so_far(coding, &frame.into_data().unwrap());
        assert_eq!(seen, b"data: 1\n\n", "{coding:?}");
    }
}

#[test]
fn trailers_come_after_all_data() {
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("0"))]);
    for coding in Coding::MADE {
        let sent = text(100_000);
        let events = [data(&sent), Event::Trailers(trailers.clone())];
        let mut client = Client::of(coding, events);
        assert_eq!(client.read(), Poll::Ready(Some(Ok(trailers.clone()))));
        assert!(client.body.is_end_stream());
        assert_eq!(client.read(), Poll::Ready(None));
        assert_eq!(decoded(coding, &client.got), sent, "{coding:?}");
    }
}

#[test]
fn a_broken_body_breaks_the_compressed_one() {
    for coding in Coding::MADE {
        let mut client = Client::of(coding, [data(b"half of"), Event::Break]);
        assert_eq!(client.read(), Poll::Ready(Some(Err(TestError::Broken))));
        assert_eq!(client.got, b"", "{coding:?} went on as if it were whole");
        assert!(client.body.is_end_stream());
        assert_eq!(client.read(), Poll::Ready(None));
    }
}

#[test]
fn the_length_is_not_that_of_the_body() {
    let client = Client::of(Coding::Gzip, [data(b"x")]);
    assert_eq!(client.body.size_hint().exact(), None);
    assert_eq!(client.body.size_hint().lower(), 0);
}

#[test]
fn frames_stay_below_32_kib_whatever_comes_in() {
    for coding in Coding::MADE {
        let mut client = Client::of(coding, [data(&noise(1_000_000))]);
        loop {
            match client.poll() {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap().len();
                    assert!(bytes < 32 * 1024, "{coding:?}: {bytes}");
                }
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) => panic!("{error}"),
                Poll::Pending => {}
            }
        }
    }
}

#[test]
fn a_large_body_lets_other_tasks_have_their_turn() {
    for coding in Coding::MADE {
        let mut client = Client::of(coding, [data(&text(1_000_000))]);
        assert_eq!(client.read(), Poll::Ready(None));
        assert!(
            client.wakes() >= 1_000_000 / (32 * 1024),
            "{coding:?}: {}",
            client.wakes()
        );
    }
}

#[test]
fn many_empty_frames_do_not_hold_the_thread() {
    let nothing = std::iter::repeat_with(|| data(b"")).take(10_000);
    let mut client = Client::of(Coding::Brotli, nothing);
    assert_eq!(client.read(), Poll::Ready(None));
    assert!(client.wakes() >= 10, "{}", client.wakes());
}

#[test]
fn a_compressed_body_may_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    movable(&Client::of(Coding::Brotli, []).body);
}
