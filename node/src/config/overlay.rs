//! What the environment adds to a configuration file: `${VAR}` in texts, `WEIR_SECTION__KEY` as keys.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Problem;

/// The environment, as given by the caller.
pub type Environment = BTreeMap<String, String>;

const PREFIX: &str = "WEIR_";

/// What the file says of a key that the environment sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overridden {
    /// The variable that wins.
    pub(super) variable: String,
    /// What it says.
    pub(super) says: String,
    /// What the file says; `none` where it says nothing.
    pub(super) of_file: String,
}

/// By path, such as `node.name`.
pub(super) type AllOverridden = BTreeMap<String, Overridden>;

/// Sets `section.key` for every variable named `WEIR_SECTION__KEY`; needs at least one `__`. Returns what the file says
/// there.
pub(super) fn apply_variables(
    tree: &mut Table,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> AllOverridden {
    let mut overridden = AllOverridden::new();
    for (name, text) in environment {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else {
            continue;
        };
        let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let found = Overridden {
            variable: name.clone(),
            says: shown(&value_of(text)),
            of_file: get(tree, &keys).map_or_else(|| "none".to_owned(), shown),
        };
        match set(tree, &keys, value_of(text)) {
            Ok(()) => drop(overridden.insert(keys.join("."), found)),
            Err(what) => problems.push(Problem {
                path: format!("${name}"),
                what,
            }),
        }
    }
    overridden
}

fn get<'a>(tree: &'a Table, keys: &[String]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter()
        .try_fold(tree.get(first)?, |at, key| at.as_table()?.get(key))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Puts a value at a path of keys.
pub(super) fn set(tree: &mut Table, keys: &[String], value: Value) -> Result<(), String> {
    let (last, parents) = keys.split_last().ok_or("names no key")?;
    let mut at = tree;
    for key in parents {
        at = at
            .entry(key.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{key}` is not a table"))?;
    }
    at.insert(last.clone(), value);
    Ok(())
}

/// As TOML, or else as a text.
fn value_of(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Replaces `${VAR}` and `${VAR:-default}` in every text; `$${` stands for a plain `${`.
pub(super) fn substitute(tree: &mut Table, environment: &Environment, problems: &mut Vec<Problem>) {
    for (key, value) in tree.iter_mut() {
        substitute_value(key, value, environment, problems);
    }
}

fn substitute_value(
    path: &str,
    value: &mut Value,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) {
    match value {
        Value::String(text) if text.contains("${") => match substituted(text, environment) {
            Ok(new) => *text = new,
            Err(what) => problems.push(Problem {
                path: path.to_owned(),
                what,
            }),
        },
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                substitute_value(&format!("{path}[{at}]"), item, environment, problems);
            }
        }
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                substitute_value(&format!("{path}.{key}"), value, environment, problems);
            }
        }
        _ => {}
    }
}

fn substituted(text: &str, environment: &Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let (name, after) = rest[at + 2..]
            .split_once('}')
            .ok_or_else(|| "`${` without `}`".to_owned())?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        match environment.get(name).map(String::as_str).or(default) {
            Some(value) => out.push_str(value),
            None => return Err(format!("`${{{name}}}` is not set in the environment")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn variables_replace_their_place_and_only_that() {
        let env = environment(&[("HOST", "db"), ("PORT", "5432")]);
        assert_eq!(
            substituted("x${HOST}:${PORT}y", &env).as_deref(),
            Ok("xdb:5432y")
        );
        assert_eq!(substituted("${MISSING:-none}", &env).as_deref(), Ok("none"));
        assert_eq!(substituted("$${HOST}", &env).as_deref(), Ok("${HOST}"));
        assert!(
            substituted("${MISSING}", &env)
                .unwrap_err()
                .contains("MISSING")
        );
        assert!(substituted("${HOST", &env).is_err());
    }

    #[test]
    fn a_variable_sets_the_key_that_it_names() {
        let mut tree: Table = toml::from_str("[ingress]\nlisten = '127.0.0.1:1'").unwrap();
        let env = environment(&[
            ("WEIR_INGRESS__LISTEN", "127.0.0.1:2"),
            ("WEIR_NODE__CORES", "3"),
            ("WEIR_LOG", "debug"),
        ]);
        let mut problems = Vec::new();
        let overridden = apply_variables(&mut tree, &env, &mut problems);
        assert_eq!(problems, []);
        let of_file = |path| overridden.get(path).map(|found| found.of_file.as_str());
        assert_eq!(of_file("ingress.listen"), Some("127.0.0.1:1"));
        assert_eq!(of_file("node.cores"), Some("none"));
        assert_eq!(overridden.len(), 2);
        assert_eq!(tree["ingress"]["listen"].as_str(), Some("127.0.0.1:2"));
        assert_eq!(tree["node"]["cores"].as_integer(), Some(3));
        assert!(!tree.contains_key("log"));
    }
}
