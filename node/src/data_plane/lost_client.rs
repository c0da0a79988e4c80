//! Clients that are told what goes on for as long as they like, and whose system is gone.
//!
//! Refused: `TCP_NOTSENT_LOWAT`, so that what a client does not take would wait in the node instead of the kernel. A
//! write that stops at this mark is not always followed by word that there is room again, and the rest stays unwritten.

use std::time::Duration;

use tokio::net::TcpStream;

/// Has a connection end when the client's system takes nothing for so long: one that lost its power says nothing, and
/// the kernel would go on trying for a quarter of an hour.
#[cfg(target_os = "linux")]
pub(crate) fn give_up_after(stream: &TcpStream, patience: Duration) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_user_timeout(Some(patience)) {
        // It is seen later, and nothing else.
        tracing::debug!(%error, "a lost subscriber is given up late");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_up_after(_: &TcpStream, _: Duration) {}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_subscriber_whose_system_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        super::give_up_after(&stream, Duration::from_secs(30));
        let patience = socket2::SockRef::from(&stream).tcp_user_timeout();
        assert_eq!(patience.unwrap(), Some(Duration::from_secs(30)));
    }
}
