//! Files for those who run a node without containers.

use super::{done, run, text};

#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = text("deploy/systemd/weir.service");
    // The binary has to be there.
    let here = unit.replace("/usr/local/bin/weir", env!("CARGO_BIN_EXE_weir"));
    assert_ne!(unit, here);
    std::fs::write(folder.path().join("weir.service"), here).unwrap();
    let verified = run(
        "systemd-analyze",
        &["verify", "./weir.service"],
        folder.path(),
    );
    let said = done(&verified);
    assert!(!said.contains("weir.service"), "{said}");
}

#[test]
fn a_node_takes_the_configuration_of_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let config = text("deploy/weir/node.toml");
    // Secrets and the folder are those of a container.
    let here = config
        .replace("/run/secrets", &folder.path().display().to_string())
        .replace("/var/lib/weir", &folder.path().display().to_string());
    std::fs::write(folder.path().join("node.toml"), here).unwrap();
    let made = run(
        "sh",
        &[super::file("deploy/secrets.sh").to_str().unwrap(), "."],
        folder.path(),
    );
    done(&made);
    for kind in ["pem", "key"] {
        let to = folder.path().join(format!("node.{kind}"));
        std::fs::copy(folder.path().join(format!("node-1.{kind}")), to).unwrap();
    }
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["node", "--check", "--config", "node.toml"])
        .env("WEIR_NODE__NAME", "node-1")
        .current_dir(folder.path())
        .output();
    done(&checked.unwrap());
}
