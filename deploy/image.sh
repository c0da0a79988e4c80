#!/bin/sh
# Makes the image without pulling one: out of a binary of this machine and the libraries of its system.
#
#   deploy/image.sh [TAG [PROGRAM]]
#
# TAG is weir:0.1.0 unless told, PROGRAM the release build, which is made. Run it on a Debian or another system with glibc.
set -eu

cd "$(dirname "$0")/.."
tag=${1:-weir:0.1.0}
program=${2:-target/release/weir}
[ $# -ge 2 ] || cargo build --release --locked --quiet --bin weir

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
deploy/rootfs.sh "$context/image" "$program"
# The last stage of the Dockerfile, with this machine in the place of the one before.
sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed 's# --from=build /image/# image/#' >"$context/Dockerfile"
docker build --quiet --tag "$tag" "$context"
