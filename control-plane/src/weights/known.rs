//! Which names of a write of weights nobody registered.

use std::collections::BTreeSet;

/// Most backends that are named one by one.
const NAMED_MAX: usize = 20;

/// One line for each name that no registered backend has, the service alone if it has none registered at all.
///
/// `registered` are the registered backends as `service/backend`. What nodes' own files name is not known to the
/// control plane, so a name may be right without being registered.
pub fn warnings<'a>(
    service: &str,
    backends: impl IntoIterator<Item = &'a str>,
    registered: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let of_service = |name: &'a str| {
        let (found, backend) = name.split_once('/')?;
        (found == service).then_some(backend)
    };
    let known: BTreeSet<&str> = registered.into_iter().filter_map(of_service).collect();
    let unknown = backends.into_iter().filter(|b| !known.contains(b));
    let unknown: Vec<&str> = unknown.collect();
    if unknown.is_empty() {
        return Vec::new();
    }
    if known.is_empty() {
        return vec![format!(
            "no backend of service `{service}` is registered; these weights count only for backends that nodes' \
             own files name (the control plane does not know those) or that register later"
        )];
    }
    let named = unknown.iter().take(NAMED_MAX);
    let mut lines: Vec<String> = named.map(|backend| line(service, backend)).collect();
    let more = unknown.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        lines.push(format!("{more} more backends are not registered either"));
    }
    lines
}

fn line(service: &str, backend: &str) -> String {
    format!(
        "no backend `{backend}` of service `{service}` is registered; its weight counts only where a node's own \
         file names it (the control plane does not know those) or once it registers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTERED: [&str; 3] = ["api/b9", "web/b1", "web/b2"];

    #[test]
    fn registered_backends_are_no_news() {
        assert_eq!(warnings("web", ["b1", "b2"], REGISTERED), [""; 0]);
        assert_eq!(warnings("nobody", [], REGISTERED), [""; 0]);
    }

    #[test]
    fn every_backend_that_nobody_registered_is_named() {
        let told = warnings("web", ["b1", "b3", "b9"], REGISTERED);
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("no backend `b3` of service `web` is registered;"));
        assert!(told[1].starts_with("no backend `b9` of service `web` is registered;"));
    }

    #[test]
    fn a_service_that_nobody_registered_is_named_once() {
        let told = warnings("wbe", ["b1", "b2"], REGISTERED);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("no backend of service `wbe` is registered;"));
    }

    #[test]
    fn the_lines_are_bounded() {
        let many: Vec<String> = (0..30).map(|at| format!("x{at}")).collect();
        let told = warnings("web", many.iter().map(String::as_str), REGISTERED);
        assert_eq!(told.len(), NAMED_MAX + 1);
        assert_eq!(
            told[NAMED_MAX],
            "10 more backends are not registered either"
        );
    }
}
