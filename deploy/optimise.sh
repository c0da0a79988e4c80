#!/bin/sh
# Makes target/optimised/weir: the release build, laid out by what a build that counts saw under load (PGO).
#
#   deploy/optimise.sh
#
# Two builds and a minute of load on 127.0.0.1, which nginx, wrk and h2load put on it. Needs two cores, and llvm-tools of the
# compiler in use: rustup component add llvm-tools.
set -eu

cd "$(dirname "$0")/.."
folder=$PWD/target/optimised
host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || { echo "weir: please install llvm-tools: rustup component add llvm-tools" >&2; exit 1; }

# With a target named, build scripts and macros are built without the flags.
build() {
    RUSTFLAGS=$1 cargo build --release --locked --quiet --bin weir --target "$host" --target-dir "$folder/$2"
}

counts=$folder/counts
rm -rf "$counts"
build "-Cprofile-generate=$counts" counting
python3 sim/bench/train.py "$folder/counting/$host/release/weir"
"$profdata" merge --output "$folder/weir.profdata" "$counts"
build "-Cprofile-use=$folder/weir.profdata" used
cp "$folder/used/$host/release/weir" "$folder/weir"
