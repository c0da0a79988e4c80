//! A real etcd of three members.

use std::path::PathBuf;
use std::process::Child;

use tempfile::TempDir;

use crate::etcd::{free_port, spawn, url};

/// How many members there are.
pub(crate) const MEMBERS: usize = 3;

struct Member {
    process: Child,
    name: String,
    data_dir: PathBuf,
    client_port: u16,
    peer_port: u16,
}

/// The members. They die with this.
pub(crate) struct Cluster {
    members: Vec<Member>,
    initial: String,
    _folder: TempDir,
}

impl Cluster {
    /// Starts them; they may not have found each other yet.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<_> = (0..MEMBERS).map(|_| (free_port(), free_port())).collect();
        let peers = ports.iter().enumerate();
        let peers = peers.map(|(i, (_, peer))| format!("m{i}={}", url(*peer)));
        let initial = peers.collect::<Vec<_>>().join(",");
        let members = ports
            .iter()
            .enumerate()
            .map(|(i, &(client_port, peer_port))| {
                let name = format!("m{i}");
                let data_dir = folder.path().join(&name);
                Member {
                    process: spawn(&data_dir, &name, client_port, peer_port, &initial),
                    name,
                    data_dir,
                    client_port,
                    peer_port,
                }
            });
        Self {
            members: members.collect(),
            initial,
            _folder: folder,
        }
    }

    /// Where clients find each.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let members = self.members.iter();
        members.map(|member| url(member.client_port)).collect()
    }

    /// Ends one as kill -9 does.
    pub(crate) fn kill(&mut self, index: usize) {
        let process = &mut self.members[index].process;
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts one again on what it had.
    pub(crate) fn start_again(&mut self, index: usize) {
        let initial = self.initial.clone();
        let m = &mut self.members[index];
        m.process = spawn(&m.data_dir, &m.name, m.client_port, m.peer_port, &initial);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..MEMBERS {
            self.kill(index);
        }
    }
}
