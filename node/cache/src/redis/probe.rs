//! One question to a Redis, for who wants to know whether it answers.

use std::time::Duration;

use redis::{Client, RedisError, cmd};
use tokio::time::timeout;

use super::failure::{Failure, FailureKind};
use super::settings::RedisUrl;

/// What the clock of a Redis says, as time since 1970, over a connection of its own.
///
/// # Errors
/// Why it does not say, within `limit`.
pub async fn time_of(url: &RedisUrl, limit: Duration) -> Result<Duration, Failure> {
    let told = |error: RedisError| Failure::of_client(&error, url);
    let ask = async {
        let client = Client::open(url.info().clone()).map_err(told)?;
        let mut connection = client
            .get_multiplexed_async_connection()
            .await
            .map_err(told)?;
        let asked = cmd("TIME").query_async::<(u64, u32)>(&mut connection).await;
        asked.map_err(told)
    };
    match timeout(limit, ask).await {
        Ok(Ok((secs, micros))) => {
            Ok(Duration::from_secs(secs) + Duration::from_micros(micros.into()))
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(
            FailureKind::Late,
            format!("it does not answer within {limit:?}"),
        )),
    }
}
