//! Compiles the schema without `protoc`: protox parses, tonic-prost-build generates.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=weir");
    let files = [
        "weir/control/v1/admin.proto",
        "weir/control/v1/jobs.proto",
        "weir/control/v1/records.proto",
        "weir/control/v1/sync.proto",
        "weir/demo/v1/echo.proto",
        "weir/node/v1/broadcast.proto",
        "weir/node/v1/broadcast_peer.proto",
        "weir/node/v1/cache.proto",
        "weir/node/v1/cache_values.proto",
        "weir/node/v1/engine_peer.proto",
        "weir/node/v1/events.proto",
        "weir/node/v1/load_balancer.proto",
        "weir/node/v1/logs.proto",
        "weir/node/v1/node.proto",
        "weir/node/v1/overview.proto",
        "weir/node/v1/port_cache.proto",
        "weir/node/v1/provision.proto",
        "weir/node/v1/traces.proto",
        "weir/tuning/v1/tuning.proto",
    ];
    let schema = protox::compile(files, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("schema.bin"), schema.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::FittingCodec")
        .btree_map(".weir")
        .bytes(".weir.control.v1.Resource.payload")
        .bytes(".weir.node.v1.LinkTold.delivery")
        .bytes(".weir.node.v1.Message.data")
        .bytes(".weir.node.v1.PublishRequest.data")
        .message_attribute(".weir", "#[derive(serde::Serialize)]")
        .enum_attribute(".weir", "#[derive(serde::Serialize)]")
        .field_attribute(
            "weir.node.v1.Backend.standing",
            "#[serde(serialize_with = \"crate::standing_as_text\")]",
        )
        .field_attribute(
            "weir.node.v1.BackendOnNode.standing",
            "#[serde(serialize_with = \"crate::standing_as_text\")]",
        )
        .field_attribute(
            "weir.node.v1.Series.values",
            "#[serde(serialize_with = \"crate::none_as_null\")]",
        )
        .compile_fds(schema)?;
    Ok(())
}
