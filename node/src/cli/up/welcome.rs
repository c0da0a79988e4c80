//! What `weir up` says when everything runs.

use std::fmt::Write as _;

use super::Mesh;
use super::folder::RunFolder;
use super::processes::Place;

/// Where everything is, and what to try.
pub(super) fn welcome(mesh: &Mesh, folder: &RunFolder, is_demo: bool) -> String {
    let mut text = String::from("Weir is up.\n\n");
    for node in &mesh.nodes {
        let Place {
            name,
            ingress,
            grpc,
            http_api,
            ..
        } = &node.place;
        let ingress: Vec<String> = ingress.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "  {name}  ingress http://{}  gRPC {grpc}  API http://{http_api}",
            ingress.join(" http://")
        );
    }
    if let Some(control_plane) = &mesh.control_plane {
        let _ = writeln!(text, "  control plane {}", control_plane.listen);
    }
    if let Some(why) = &mesh.not_joined {
        let _ = writeln!(
            text,
            "  control plane away: {why}; nodes serve without it (`weir status` tells how it is)"
        );
    }
    text.push_str("\nTry:\n");
    for line in tries(mesh, is_demo) {
        let _ = writeln!(text, "  {line}");
    }
    let logs = folder.log_of("*");
    let _ = write!(
        text,
        "\nLogs: {}\nCtrl-C stops everything.\n",
        logs.display()
    );
    text
}

fn tries(mesh: &Mesh, is_demo: bool) -> Vec<String> {
    let first = &mesh.nodes[0].place;
    let ingress = first.ingress[0];
    // As it was called, so that the line works where it is read.
    let weir = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
    let mut lines = vec![format!("curl -i {ingress}/")];
    lines.push(match is_demo {
        true => format!("curl --http2-prior-knowledge {ingress}/headers"),
        false => format!("curl http://{}/api/status", first.http_api),
    });
    lines.push(match first.grpc.port() {
        7400 => format!("{weir} services"),
        _ => format!("{weir} services --node {}", first.grpc),
    });
    if mesh.plan.has_engines {
        lines.push(match first.grpc.port() {
            7400 => format!("{weir} engines list"),
            _ => format!("{weir} engines list --node {}", first.grpc),
        });
    }
    if let Some(control_plane) = &mesh.control_plane {
        let set = format!("{weir} profile set balancer.drain_timeout=10s");
        lines.push(match control_plane.listen.port() {
            7500 => set,
            _ => format!("{set} --control-plane {}", control_plane.listen),
        });
    }
    lines
}
