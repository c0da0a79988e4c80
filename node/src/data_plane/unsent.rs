//! How much of what a subscriber does not take waits in the kernel.
//!
//! The kernel would take megabytes for a client that reads nothing: memory that nobody counts, writes that are for
//! nothing, and old messages that no newer ones can replace. What waits here instead is bounded, and shed by its class.

use std::time::Duration;

use tokio::net::TcpStream;

/// Bytes that the kernel takes beyond what the client's window lets it send: one write of a subscriber.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 << 10;

/// Bounds it for a connection, and has it end when the client's system takes nothing for so long: one that lost its
/// power says nothing, and the kernel would go on trying for a quarter of an hour.
#[cfg(target_os = "linux")]
pub(super) fn bound(stream: &TcpStream, patience: Duration) {
    let socket = socket2::SockRef::from(stream);
    let bounded = socket
        .set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
        .and_then(|()| socket.set_tcp_user_timeout(Some(patience)));
    if let Err(error) = bounded {
        // It costs memory of the kernel, and nothing else.
        tracing::debug!(%error, "what a subscriber does not take is not bounded");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bound(_: &TcpStream, _: Duration) {}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;
    use std::time::Duration;

    use bytes::BytesMut;
    use futures::FutureExt as _;
    use tokio::io::AsyncWrite as _;
    use tokio::net::{TcpListener, TcpStream};

    use crate::data_plane::activity::Activity;
    use crate::data_plane::client_io::ClientIo;

    /// What a client that never reads is taken from.
    async fn taken(bounds: bool) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::new());
        if bounds {
            activity.bound_unsent(Duration::from_secs(30));
        }
        let mut io = ClientIo::unguarded(Box::new(stream), BytesMut::new(), activity);
        let mut taken = 0;
        loop {
            let wrote = poll_fn(|cx| match Pin::new(&mut io).poll_write(cx, &[0; 4_096]) {
                Poll::Ready(wrote) => Poll::Ready(Some(wrote.unwrap())),
                Poll::Pending => Poll::Ready(None),
            });
            // The first look may come before the kernel has said that there is room.
            match wrote.now_or_never().flatten() {
                Some(bytes) => taken += bytes,
                None if taken == 0 => tokio::task::yield_now().await,
                None => return taken,
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_takes_little_for_a_subscriber_that_does_not_read() {
        let (bounded, unbounded) = (taken(true).await, taken(false).await);
        assert!(
            bounded < unbounded / 2 && bounded < 1 << 20,
            "{bounded} of {unbounded}"
        );
    }

    #[tokio::test]
    async fn a_subscriber_whose_system_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        super::bound(&stream, Duration::from_secs(30));
        let patience = socket2::SockRef::from(&stream).tcp_user_timeout();
        assert_eq!(patience.unwrap(), Some(Duration::from_secs(30)));
    }
}
