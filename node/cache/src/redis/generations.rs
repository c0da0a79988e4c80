//! Keeps the generations of all namespaces as Redis has them, and sees with that whether Redis answers.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use super::link::Lane;
use super::namespace::Generation;
use super::shared::Shared;

/// How soon a node hears that another one purged a namespace.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks as long as the tier is there.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = shared.namespace_added.notified() => {}
        }
        let Some(link) = shared.link.load_full() else {
            continue;
        };
        let deadline = Instant::now() + link.command_timeout;
        let ping = redis::cmd("PING");
        // What fails is counted and judged where it happens.
        let (_, _) = tokio::join!(
            learn(&shared, &link.quick, deadline),
            link.bulk.ask(&ping, deadline)
        );
    }
}

/// Asks for all generations, and begins one where Redis has none.
pub(super) async fn learn(shared: &Shared, lane: &Lane, deadline: Instant) -> Result<(), Failure> {
    let namespaces = shared.namespaces.load_full();
    let before: Vec<_> = namespaces
        .iter()
        .map(|known| known.before_asking())
        .collect();
    let mut command = redis::cmd(if namespaces.is_empty() {
        "PING"
    } else {
        "MGET"
    });
    for known in namespaces.iter() {
        command.arg(known.key());
    }
    let answer = lane.ask(&command, deadline).await?;
    let answers = match answer {
        _ if namespaces.is_empty() => return Ok(()),
        Value::Array(answers) if answers.len() == namespaces.len() => answers,
        _ => return Err(Failure::garbled("MGET")),
    };
    let mut missing = Vec::new();
    for ((known, before), answer) in namespaces.iter().zip(before).zip(answers) {
        let Some(before) = before else { continue };
        match answer {
            Value::Nil => missing.push((known, before)),
            answer => known.learn(before, number(&answer)?),
        }
    }
    begin(shared, lane, deadline, &missing).await
}

/// Of all nodes that miss one at once the first decides.
async fn begin(
    shared: &Shared,
    lane: &Lane,
    deadline: Instant,
    missing: &[(&Arc<Generation>, u64)],
) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let stamp = (shared.now)().max(1);
    let mut commands = Pipeline::new();
    for (known, _) in missing {
        commands.cmd("SET").arg(known.key()).arg(stamp).arg("NX");
        commands.cmd("GET").arg(known.key());
    }
    let answers = lane.ask_all(&commands, deadline).await?;
    for ((known, before), pair) in missing.iter().zip(answers.chunks(2)) {
        for answer in pair {
            if let Err(failure) = answer {
                return Err(failure.clone());
            }
        }
        let seen = pair.last().and_then(|answer| answer.as_ref().ok());
        known.learn(*before, seen.map_or(Err(Failure::garbled("GET")), number)?);
    }
    Ok(())
}

fn number(value: &Value) -> Result<u64, Failure> {
    let digits = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let number = digits.and_then(|digits| digits.parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| Failure::garbled("GET of a generation"))
}
