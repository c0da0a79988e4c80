//! Writes what is queued, in batches, one after the other.

use std::sync::Arc;

use redis::Pipeline;
use tokio::time::Instant;

use super::failure::Failure;
use super::link::Link;
use super::queue::{Queue, Write};
use super::shared::Shared;

/// Commands in one batch.
const BATCH_WRITES_MAX: usize = 128;
/// A batch ends with the write that reaches this.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Nobody waits for a batch, so it may take as long as so many reads.
const BATCH_TIMEOUTS: u32 = 4;

/// Writes as long as the tier is there.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        // What is owed for a key is older than whatever waits to be put there.
        if let Some(link) = shared.link.load_full() {
            let deadline = Instant::now() + link.command_timeout * BATCH_TIMEOUTS;
            let _ = settle(&shared, &link, deadline).await;
        }
        let batch = take(&shared.queue);
        if batch.is_empty() {
            shared.queue.added().await;
            continue;
        }
        match shared.link.load_full() {
            Some(link) => write(&shared, &link, batch).await,
            None => batch.into_iter().for_each(|write| shared.lost(write)),
        }
    }
}

/// Deletes what is owed.
///
/// # Errors
/// What Redis did not take is still owed.
pub(super) async fn settle(shared: &Shared, link: &Link, deadline: Instant) -> Result<(), Failure> {
    loop {
        let owed = shared.owed.take(BATCH_WRITES_MAX);
        if owed.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::with_capacity(1);
        let command = commands.cmd("UNLINK");
        for (key, _) in &owed {
            command.arg(key);
        }
        match link.bulk.ask_all(&commands, deadline).await {
            Ok(answers) if answers.iter().all(Result::is_ok) => {
                shared.counters.deletes.add(owed.len());
            }
            // A Redis that refuses to delete will not be won over by asking again.
            Ok(_) => owed
                .iter()
                .for_each(|(_, stamp)| shared.undelivered(1, *stamp)),
            Err(failure) => {
                for (key, stamp) in owed {
                    // Until it is delivered this node at least knows.
                    shared.floor.raise(stamp);
                    if !shared.owed.add(key, stamp) {
                        shared.undelivered(1, stamp);
                    }
                }
                return Err(failure);
            }
        }
    }
}

fn take(queue: &Queue) -> Vec<Write> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_WRITES_MAX && bytes < BATCH_BYTES_MAX {
        let Some(write) = queue.pop() else { break };
        bytes += write.bytes();
        batch.push(write);
    }
    batch
}

async fn write(shared: &Shared, link: &Link, batch: Vec<Write>) {
    let mut commands = Pipeline::with_capacity(batch.len());
    for write in &batch {
        add(&mut commands, write);
    }
    let deadline = Instant::now() + link.command_timeout * BATCH_TIMEOUTS;
    match link.bulk.ask_all(&commands, deadline).await {
        Ok(answers) => {
            for (write, answer) in batch.into_iter().zip(answers) {
                match answer {
                    Ok(_) => delivered(shared, &write),
                    Err(_) => shared.lost(write),
                }
            }
        }
        Err(_) => batch.into_iter().for_each(|write| shared.lost(write)),
    }
}

fn add(commands: &mut Pipeline, write: &Write) {
    match write {
        Write::Put {
            key, value, ttl, ..
        } => {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            let command = commands.cmd("SET").arg(key).arg(&value[..]);
            command.arg("PX").arg(millis);
        }
        Write::Delete { keys, .. } => {
            commands.cmd("UNLINK").arg(keys);
        }
        Write::Renew { generation, stamp } => {
            commands
                .cmd("SET")
                .arg(generation.key())
                .arg((*stamp).max(1));
        }
    }
}

fn delivered(shared: &Shared, write: &Write) {
    match write {
        Write::Put { value, .. } => {
            shared.counters.puts.one();
            shared.counters.bytes_out.add(value.len());
        }
        Write::Delete { keys, .. } => shared.counters.deletes.add(keys.len()),
        Write::Renew { generation, .. } => generation.renewed(),
    }
}
