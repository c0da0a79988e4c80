//! The command that Gluetun runs each time its tunnel has another port.

use std::process::{Command, Stdio};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Shared, State};

/// How soon another port is seen.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Where Gluetun's tunnel is.
const INTERFACE: &str = "tun0";

/// Runs `up_command`, if it is set, for the ports of the start and each time that there are others, until the emulator
/// is gone. How each ended is counted as the route `up_command CODE`.
pub(super) fn follow(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    thread::spawn(move || {
        let mut before = Vec::new();
        while let Some(command) = next(&shared, &mut before) {
            if let Some(command) = command {
                let code = run(&command);
                if let Some(shared) = shared.upgrade() {
                    shared.lock().count(format!("up_command {code}"));
                }
            }
            thread::sleep(LOOK_INTERVAL);
        }
    });
}

/// What is to be run now, as words; `None` when the emulator is gone.
fn next(shared: &Weak<Shared>, before: &mut Vec<u16>) -> Option<Option<Vec<String>>> {
    let shared = shared.upgrade()?;
    let state = shared.lock();
    let State {
        settings, tunnel, ..
    } = &*state;
    let ports = tunnel.view(Instant::now(), settings).ports;
    if ports.is_empty() || ports == *before {
        return Some(None);
    }
    before.clone_from(&ports);
    let is_set = !settings.up_command.is_empty();
    Some(is_set.then(|| words(&settings.up_command, &ports)))
}

/// The words of the command, with quotes as a shell has them, and with what it is to be told in their places.
fn words(command: &str, ports: &[u16]) -> Vec<String> {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let command = command
        .replace("{{PORTS}}", &list.join(","))
        .replace("{{PORT}}", &list[0])
        .replace("{{VPN_INTERFACE}}", INTERFACE);
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Its exit code; 127 for one that cannot be run.
fn run(words: &[String]) -> i32 {
    let Some((program, arguments)) = words.split_first() else {
        return 127;
    };
    let ran = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ran.map_or(127, |status| status.code().unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_command_is_words_and_its_ports_stand_where_they_belong() {
        let command = "/bin/sh -c \"echo 'a  b' {{PORTS}} {{PORT}}\" '' {{VPN_INTERFACE}}";
        assert_eq!(
            words(command, &[5914, 6021]),
            ["/bin/sh", "-c", "echo 'a  b' 5914,6021 5914", "", "tun0"]
        );
    }
}
