//! A file for `/etc/sysctl.d`.

use super::finding::Finding;

/// The changes that findings ask for, one a line with its reason, as `sysctl --system` reads them.
pub fn file(findings: &[Finding]) -> String {
    let mut text = String::from(
        "# Written by `weir doctor --write-sysctl`. To use it: put it into /etc/sysctl.d, then `sysctl --system`.\n",
    );
    let changes = findings.iter().filter_map(|finding| {
        let change = finding.change.as_ref()?;
        Some((change, finding))
    });
    let mut is_empty = true;
    for (change, finding) in changes {
        is_empty = false;
        let (found, effect) = (one_line(&finding.found), one_line(&finding.effect));
        text.push_str(&format!(
            "\n# was {found}: {effect}\n{} = {}\n",
            change.parameter, change.value
        ));
    }
    if is_empty {
        text.push_str("# Nothing needs to change.\n");
    }
    text
}

/// What the kernel says may hold tabs.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
