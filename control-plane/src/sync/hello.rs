//! What a node says first, checked.

use std::collections::BTreeMap;

use tonic::Status;
use weir_core::text::is_printable;
use weir_core::tuning::Code;
use weir_proto::control::v1 as pb;

use super::resources::Held;
use super::said::within_bounds;
use crate::grpc::refusal;
use crate::problem::{no_name, refused};

/// Labels of one node, and bytes of one label's name or value.
const LABELS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 255;
/// Bytes of all labels of one node: every other node is told of them.
const LABELS_BYTES_MAX: usize = 4 << 10;
/// Types that a node can resume.
const RESUME_MAX: usize = 16;
/// Bytes of a boot id, a version, a zone or an address.
const TEXT_BYTES_MAX: usize = 255;
const ADDRESSES_MAX: usize = 16;

/// A node that may be let in.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) wire: pb::Hello,
    pub(super) subscribe: Vec<pb::ResourceType>,
    pub(super) connected_at_unix_ms: u64,
    /// The name of the token that it showed; empty without one.
    pub(super) token: String,
}

impl Hello {
    /// Checks every field.
    pub(super) fn checked(mut wire: pb::Hello, now_unix_ms: u64) -> Result<Self, Status> {
        let refuse = |field: &str, value: &str, bound: &str| {
            let path = format!("hello.{field}");
            let problem = refused(path, Code::Range, "is out of bounds", value, bound);
            Err(refusal(&[problem]))
        };
        if let Some(problem) = no_name("hello.node_id", "names no node", &wire.node_id) {
            return Err(refusal(&[problem]));
        }
        if wire.boot_id.is_empty() || wire.boot_id.len() > TEXT_BYTES_MAX {
            return refuse("boot_id", &wire.boot_id, "1 to 255 bytes");
        }
        let texts = [
            ("node_version", &wire.node_version),
            ("zone", &wire.zone),
            ("grpc_address", &wire.grpc_address),
            ("http_api_address", &wire.http_api_address),
        ];
        for (field, text) in texts {
            if text.len() > TEXT_BYTES_MAX {
                return refuse(field, text, "at most 255 bytes");
            }
        }
        if wire.labels.len() > LABELS_MAX {
            return refuse("labels", &wire.labels.len().to_string(), "at most 32");
        }
        let labels_bytes: usize = wire.labels.iter().map(|(k, v)| k.len() + v.len()).sum();
        if labels_bytes > LABELS_BYTES_MAX {
            return refuse(
                "labels",
                &format!("{labels_bytes} bytes"),
                "at most 4096 bytes",
            );
        }
        let labels = wire.labels.iter().flat_map(|(name, value)| [name, value]);
        let told = texts.iter().map(|(_, text)| *text);
        let told = told.chain(labels).chain(&wire.ingress_addresses);
        if let Some(odd) = told.chain([&wire.boot_id]).find(|text| !is_printable(text)) {
            return refuse("texts", odd, "texts without control characters");
        }
        for (name, value) in &wire.labels {
            if name.is_empty() || name.len() > LABEL_BYTES_MAX || value.len() > LABEL_BYTES_MAX {
                return refuse(
                    "labels",
                    name,
                    "names of 1 to 255 bytes, values of at most 255",
                );
            }
        }
        let addresses = &wire.ingress_addresses;
        if addresses.len() > ADDRESSES_MAX || addresses.iter().any(|a| a.len() > TEXT_BYTES_MAX) {
            return refuse(
                "ingress_addresses",
                &addresses.len().to_string(),
                "at most 16 of 255 bytes",
            );
        }
        let mut subscribe = Vec::new();
        for kind in wire.subscribe() {
            if kind != pb::ResourceType::Unspecified && !subscribe.contains(&kind) {
                subscribe.push(kind);
            }
        }
        wire.profile = wire.profile.map(within_bounds);
        wire.resume.truncate(RESUME_MAX);
        Ok(Self {
            wire,
            subscribe,
            connected_at_unix_ms: now_unix_ms,
            token: String::new(),
        })
    }

    /// The same, of a node that showed this token.
    pub(super) fn by(self, token: &str) -> Self {
        let token = token.to_owned();
        Self { token, ..self }
    }

    pub(super) fn node_id(&self) -> &str {
        &self.wire.node_id
    }

    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        &self.wire.labels
    }

    /// Without what is needed only once.
    pub(super) fn kept(mut self) -> Self {
        self.wire.profile = None;
        self
    }

    /// What the node holds of a type, and of which epoch.
    pub(super) fn held(&self, kind: pb::ResourceType) -> Option<(&str, Held)> {
        let point = self
            .wire
            .resume
            .iter()
            .find(|point| point.r#type() == kind)?;
        let set_hash = point.set_hash.as_slice().try_into().ok()?;
        let version = point.version;
        Some((&point.epoch, Held { version, set_hash }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> pb::Hello {
        pb::Hello {
            node_id: "node-a".to_owned(),
            boot_id: "1".to_owned(),
            ..pb::Hello::default()
        }
    }

    #[test]
    fn what_breaks_a_bound_is_refused_by_field_and_value() {
        type Change = fn(&mut pb::Hello);
        fn long() -> String {
            "x".repeat(256)
        }
        let cases: [(&str, Change); 14] = [
            ("node_id: `` names", |hello| hello.node_id.clear()),
            ("node_id: `a/b` names", |hello| {
                hello.node_id = "a/b".to_owned()
            }),
            ("boot_id: `` is", |hello| hello.boot_id.clear()),
            ("boot_id: `xxx", |hello| hello.boot_id = long()),
            ("node_version", |hello| hello.node_version = long()),
            ("zone", |hello| hello.zone = long()),
            ("grpc_address", |hello| hello.grpc_address = long()),
            ("http_api_address", |hello| hello.http_api_address = long()),
            ("labels: `` is", |hello| {
                hello.labels = [(String::new(), "v".to_owned())].into();
            }),
            ("labels: `xxx", |hello| {
                hello.labels = [(long(), "v".to_owned())].into();
            }),
            ("labels: `name` is", |hello| {
                hello.labels = [("name".to_owned(), long())].into();
            }),
            ("labels: `33` is", |hello| {
                hello.labels = (0..33).map(|n| (n.to_string(), String::new())).collect();
            }),
            ("ingress_addresses: `17` is", |hello| {
                hello.ingress_addresses = vec![String::new(); 17];
            }),
            ("ingress_addresses: `1` is", |hello| {
                hello.ingress_addresses = vec![long()];
            }),
        ];
        for (field, change) in cases {
            let mut wire = hello();
            change(&mut wire);
            let refused = Hello::checked(wire, 0).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            let told = refused.message();
            assert!(
                told.starts_with(&format!("hello.{field}")),
                "{field}: {told}"
            );
            assert!(told.contains("allowed: "), "{told}");
            assert!(told.len() < 300, "what is refused is cut: {told}");
        }
        assert!(Hello::checked(hello(), 0).is_ok());
    }

    #[test]
    fn types_count_once_and_unknown_ones_not_at_all() {
        let subscribe = vec![3, 0, 3, 77, 1];
        let checked = Hello::checked(
            pb::Hello {
                subscribe,
                ..hello()
            },
            5,
        )
        .unwrap();
        let known = [pb::ResourceType::Endpoints, pb::ResourceType::Profile];
        assert_eq!(checked.subscribe, known);
        assert_eq!(checked.connected_at_unix_ms, 5);
    }

    #[test]
    fn what_is_held_is_read_from_its_resume_point() {
        let point = |kind: pb::ResourceType, hash: Vec<u8>| pb::ResumePoint {
            r#type: kind as i32,
            epoch: "e".to_owned(),
            version: 4,
            set_hash: hash,
        };
        let resume = vec![
            point(pb::ResourceType::Weights, vec![1; 16]),
            point(pb::ResourceType::Peers, vec![1; 15]),
        ];
        let checked = Hello::checked(pb::Hello { resume, ..hello() }, 0).unwrap();
        let held = Held {
            version: 4,
            set_hash: [1; 16],
        };
        assert_eq!(checked.held(pb::ResourceType::Weights), Some(("e", held)));
        assert_eq!(checked.held(pb::ResourceType::Peers), None, "no hash");
        assert_eq!(checked.held(pb::ResourceType::Profile), None);
    }
}
