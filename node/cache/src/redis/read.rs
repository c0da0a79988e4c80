//! The way of a read: once, within its deadline, or not at all.

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::Failure;
use super::link::{Lane, Link};
use super::shared::Shared;
use super::{Fetched, QUICK_VALUE_BYTES_MAX, VALUE_BYTES_MAX};

enum Found {
    Value(Bytes),
    Nothing,
    TooLarge,
}

/// What is kept under a key of Redis.
pub(super) async fn read(shared: &Shared, key: &[u8]) -> Fetched {
    let counters = &shared.counters;
    // Too many failures count at once, also while the keeper has not got to them.
    let Some(link) = shared
        .link
        .load_full()
        .filter(|link| link.quick.is_usable())
    else {
        counters.away.one();
        return Fetched::Away;
    };
    let Ok(_permit) = shared.reads.try_acquire() else {
        counters.busy.one();
        return Fetched::Away;
    };
    match find(&link, key).await {
        Ok(Found::Value(value)) => {
            counters.hits.one();
            counters.bytes_in.add(value.len());
            Fetched::Hit(value)
        }
        Ok(Found::Nothing) => {
            counters.misses.one();
            Fetched::Miss
        }
        Ok(Found::TooLarge) => {
            counters.reads_refused.one();
            Fetched::Miss
        }
        Err(_) => {
            counters.reads_failed.one();
            Fetched::Away
        }
    }
}

async fn find(link: &Link, key: &[u8]) -> Result<Found, Failure> {
    let deadline = Instant::now() + link.command_timeout;
    let mut value = first(&link.quick, key, QUICK_VALUE_BYTES_MAX, deadline).await?;
    if value.len() > QUICK_VALUE_BYTES_MAX {
        value = first(&link.bulk, key, VALUE_BYTES_MAX, deadline).await?;
    }
    Ok(match value.len() {
        0 => Found::Nothing,
        bytes if bytes > VALUE_BYTES_MAX => Found::TooLarge,
        _ => Found::Value(Bytes::from(value)),
    })
}

/// The first bytes of a value, one more than may be, so that a larger one shows and still costs no more.
async fn first(
    lane: &Lane,
    key: &[u8],
    bytes_max: usize,
    deadline: Instant,
) -> Result<Vec<u8>, Failure> {
    let mut command = Cmd::with_capacity(4, key.len() + 32);
    command.arg("GETRANGE").arg(key).arg(0).arg(bytes_max);
    match lane.ask(&command, deadline).await? {
        Value::BulkString(bytes) => Ok(bytes),
        Value::Nil => Ok(Vec::new()),
        _ => Err(Failure::garbled("GETRANGE")),
    }
}
