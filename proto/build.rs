//! Compiles the schema without `protoc`: protox parses, tonic-prost-build generates.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=weir");
    let schema = protox::compile(["weir/node/v1/load_balancer.proto"], ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("schema.bin"), schema.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(schema)?;
    Ok(())
}
