//! What Weir promises its users, tested on the whole binary: one module for each promise.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests may panic; modules of one test share"
)]

mod api_answers;
mod bench;
mod blame;
mod bounds;
mod broadcast;
mod broadcast_mesh;
mod browser;
mod cache;
mod client;
mod common;
mod compression;
mod control_cli;
mod control_plane;
mod control_plane_etcd;
mod debug;
mod demand;
mod deploy;
mod docs;
mod doctor;
mod doctor_live;
mod drains;
mod drains_h2;
mod engines;
mod engines_docker;
mod engines_face;
mod faults;
mod faulty;
mod files;
mod framing;
mod framing_connection;
mod framing_h2;
mod grpc;
mod grpc_streams;
mod h2_faults;
mod headers;
mod health;
mod http2;
mod leaks;
mod limits;
mod logs;
mod messages;
mod odd_messages;
mod operations;
mod operator;
mod orders;
mod orders_h2;
mod otlp_metrics;
mod overview;
mod pools;
mod protocols;
mod recorder;
mod reload;
mod replays;
mod reuse;
mod routing;
mod stalls;
mod stderr;
mod steered;
mod stopping;
mod streaming;
mod told;
mod tracing;
mod traffic;
mod trailers;
mod tuning_document;
mod up;
mod up_engines;
mod upgrades;
mod vpns;
