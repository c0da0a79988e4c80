//! Whose profile a command is about.

use std::collections::BTreeMap;

use clap::Args;
use weir_core::tuning::Scope;
use weir_proto::control::v1::GroupSelector;

use crate::cli::output::Failure;

/// The whole fleet, unless one of these says otherwise.
#[derive(Args)]
pub(super) struct ScopeArgs {
    /// The profile of a group of nodes, which its selector picks.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["node", "over"])]
    group: Option<String>,
    /// The profile of one node.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// The override, which wins over every profile and ends by itself; with --node, that of one node.
    #[arg(long = "override", id = "over")]
    over: bool,
}

impl ScopeArgs {
    pub(super) fn scope(&self) -> Result<Scope, Failure> {
        let text = match (&self.group, &self.node, self.over) {
            (Some(name), _, _) => format!("group/{name}"),
            (None, Some(id), true) => format!("override/{id}"),
            (None, Some(id), false) => format!("node/{id}"),
            (None, None, true) => return Ok(Scope::Override),
            (None, None, false) => return Ok(Scope::Fleet),
        };
        text.parse()
            .map_err(|error| Failure::Usage(format!("{error}")))
    }
}

/// Which nodes a group has, and which group wins.
#[derive(Args)]
pub(super) struct GroupArgs {
    /// Which nodes a group has: those with all of these labels.
    #[arg(
        long,
        value_name = "LABEL=VALUE,...",
        value_delimiter = ',',
        value_parser = label,
        requires = "group"
    )]
    selector: Vec<(String, String)>,
    /// Which group wins where two set one knob: the higher one.
    #[arg(long, value_name = "N", requires = "group")]
    priority: Option<u32>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((label, value)) if !label.is_empty() => Ok((label.to_owned(), value.to_owned())),
        _ => Err("expected LABEL=VALUE, such as zone=a".to_owned()),
    }
}

impl GroupArgs {
    /// What to send: `None` leaves what there is; half of it is completed from what there is.
    pub(super) fn selector(
        &self,
        scope: &Scope,
        present: Option<&GroupSelector>,
    ) -> Result<Option<GroupSelector>, Failure> {
        if matches!(scope, Scope::Group(_)) && present.is_none() && self.selector.is_empty() {
            return Err(Failure::Usage(format!(
                "--selector: {scope} is new and needs to know which nodes it has, such as \
                 --selector zone=eu-1"
            )));
        }
        if self.selector.is_empty() && self.priority.is_none() {
            return Ok(None);
        }
        let mut labels = BTreeMap::new();
        for (label, value) in &self.selector {
            if labels.insert(label.clone(), value.clone()).is_some() {
                return Err(Failure::Usage(format!(
                    "--selector: `{label}` is there twice"
                )));
            }
        }
        let present = present.cloned().unwrap_or_default();
        if labels.is_empty() {
            labels = present.labels;
        }
        Ok(Some(GroupSelector {
            labels,
            priority: self.priority.unwrap_or(present.priority),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_a_scope() {
        let scope = |group: Option<&str>, node: Option<&str>, over| {
            let args = ScopeArgs {
                group: group.map(str::to_owned),
                node: node.map(str::to_owned),
                over,
            };
            args.scope().map(|scope| scope.to_string())
        };
        assert_eq!(scope(None, None, false).unwrap(), "fleet");
        assert_eq!(scope(Some("eu"), None, false).unwrap(), "group/eu");
        assert_eq!(scope(None, Some("n-1"), false).unwrap(), "node/n-1");
        assert_eq!(scope(None, None, true).unwrap(), "override");
        assert_eq!(scope(None, Some("n-1"), true).unwrap(), "override/n-1");
        let refused = scope(None, Some("a/b"), false).unwrap_err();
        assert!(matches!(refused, Failure::Usage(text) if text.contains("`node/a/b`")));
    }

    #[test]
    fn half_a_selector_keeps_the_other_half() {
        let present = GroupSelector {
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            priority: 7,
        };
        let of = |selector: &[&str], priority| {
            let selector = selector.iter().map(|text| label(text).unwrap()).collect();
            GroupArgs { selector, priority }
                .selector(&Scope::Fleet, Some(&present))
                .unwrap()
        };
        assert_eq!(of(&[], None), None);
        let higher = of(&[], Some(9)).unwrap();
        assert_eq!((&higher.labels, higher.priority), (&present.labels, 9));
        let other = of(&["zone=b", "disk=ssd"], None).unwrap();
        assert_eq!((other.labels.len(), other.priority), (2, 7));
        let none = GroupArgs {
            selector: Vec::new(),
            priority: None,
        };
        let refused = none.selector(&Scope::Group("eu".to_owned()), None);
        assert!(matches!(refused, Err(Failure::Usage(text)) if text.starts_with("--selector: ")));
        assert!(label("zone").is_err() && label("=a").is_err());
    }
}
