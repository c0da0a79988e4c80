//! Instances of the control plane on a real etcd, and real nodes with traffic: killed, frozen and thawed as processes.

#[allow(dead_code, reason = "shared with the tests of the control plane")]
#[path = "../../../../control-plane/tests/store/etcd.rs"]
pub(crate) mod etcd;
mod instances;
mod mesh;
mod overrides;
mod processes;
