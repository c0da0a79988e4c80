//! Whether a process can be what was asked for.

use crate::driver::{EngineSpec, Error};

/// The longest name, bytes: it is a folder's name as well.
const NAME_BYTES_MAX: usize = 128;

/// # Errors
/// [`Error::Invalid`] for the first field that cannot be.
pub(super) fn check(spec: &EngineSpec) -> Result<(), Error> {
    let invalid = |field, value: String, bound| {
        Err(Error::Invalid {
            field,
            value,
            bound,
        })
    };
    if !is_name(&spec.name) {
        let bound = "a letter or digit, then up to 127 letters, digits and `_`, `.`, `-`";
        return invalid("name", format!("`{}`", spec.name), bound);
    }
    if spec.command.first().is_none_or(String::is_empty) {
        return invalid(
            "command",
            format!("{:?}", spec.command),
            "a program must come first",
        );
    }
    if let Some(argument) = spec.command.iter().find(|argument| argument.contains('\0')) {
        return invalid(
            "command",
            format!("{argument:?}"),
            "an argument cannot hold a NUL",
        );
    }
    for (key, value) in &spec.env {
        if key.is_empty() || key.contains(['=', '\0']) {
            return invalid(
                "env",
                format!("{key:?}"),
                "a variable's name holds neither `=` nor NUL",
            );
        }
        if value.contains('\0') {
            return invalid("env", format!("{key:?}"), "a variable's value holds no NUL");
        }
    }
    let bound = "only a container has this bound; leave it out or run the engine in a container";
    if let Some(bytes) = spec.memory_bytes_max {
        return invalid("memory_bytes_max", bytes.to_string(), bound);
    }
    if let Some(millis) = spec.cpu_millis_max {
        return invalid("cpu_millis_max", millis.to_string(), bound);
    }
    Ok(())
}

/// Whether an engine may be called so: what Docker allows as well.
pub(super) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::Network;

    type Spoil = fn(&mut EngineSpec);

    fn spec() -> EngineSpec {
        EngineSpec {
            name: "tv-3".to_owned(),
            fence: 1,
            labels: Default::default(),
            image: String::new(),
            command: vec!["sleep".to_owned(), "60".to_owned()],
            env: Default::default(),
            network: Network::Default,
            published: Vec::new(),
            memory_bytes_max: None,
            cpu_millis_max: None,
            start_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_a_process_cannot_be_is_refused_by_name_value_and_bound() {
        let wrong: [(Spoil, &str); 9] = [
            (
                |spec| spec.name = "../etc".to_owned(),
                "name = `../etc`: a letter or digit",
            ),
            (|spec| spec.name = String::new(), "name = ``: "),
            (|spec| spec.command = Vec::new(), "command = []: a program"),
            (
                |spec| spec.command = vec![String::new()],
                "command = [\"\"]: a program",
            ),
            (
                |spec| spec.command.push("a\0b".to_owned()),
                "command = \"a\\0b\": ",
            ),
            (
                |spec| drop(spec.env.insert("A=B".into(), String::new())),
                "env = \"A=B\": ",
            ),
            (
                |spec| drop(spec.env.insert("A".into(), "\0".into())),
                "env = \"A\": ",
            ),
            (
                |spec| spec.memory_bytes_max = Some(5),
                "memory_bytes_max = 5: only a container",
            ),
            (
                |spec| spec.cpu_millis_max = Some(500),
                "cpu_millis_max = 500: only a container",
            ),
        ];
        assert!(check(&spec()).is_ok());
        for (spoil, expected) in wrong {
            let mut spec = spec();
            spoil(&mut spec);
            let said = check(&spec).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_name_is_no_way_out_of_the_folder() {
        for name in ["a", "tv-3", "A.b_c-9", &"x".repeat(128)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "-a",
            ".a",
            "a/b",
            "a b",
            "ä",
            &"x".repeat(129),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
