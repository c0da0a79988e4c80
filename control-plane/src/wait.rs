//! Waits for what may not be there: a moment, a call in flight.

use futures::future::BoxFuture;
use tokio::time::Instant;

/// Waits for ever if there is nothing to wait for.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The answer to a call in flight, which then is none any more. Waits for ever if there is none.
pub(crate) async fn answer<T>(call: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(waiting) = call else {
        return std::future::pending().await;
    };
    let answer = waiting.await;
    *call = None;
    answer
}
