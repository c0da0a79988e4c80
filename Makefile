# The commands that people and CI use. `make up` is the first one to try.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: up release image cluster test lint sim sim-meta purge-schedules cache-tests bench bench-broadcast bench-cache bench-fleet bench-engines bench-logs bench-telemetry bench-status setup setup-bench setup-test setup-lint

SCENARIO ?= partition
SEED ?= 1
SEEDS ?= 20
NODES ?= 1000 5000
REQUESTS ?= 1000
ROUNDS ?= 11
LOOKS_S ?= 60
MINUTES ?= 30
CLIENTS ?= 10000
SCHEDULES ?= 1000000
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
APT := $(if $(filter 0,$(shell id -u)),,sudo -n) env DEBIAN_FRONTEND=noninteractive apt-get

# Installs Debian packages when it may, else says in one line what to install.
apt = { $(APT) update -qq && $(APT) install -y -qq $(1); } >/dev/null 2>&1 \
	|| { echo "weir: please install $(1)"; exit 1; }

# The same of packages alone, without what they recommend, and without the service $(2) that one of them starts.
apt-idle = { { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $(1); } >/dev/null 2>&1 \
	|| { echo "weir: please install $(1)"; exit 1; }; systemctl disable --now $(2) >/dev/null 2>&1 || true; }

## Build in release mode and start a mesh of three nodes with demo backends, until Ctrl-C.
up: setup
	@cargo build --release --locked --quiet --bin weir
	@exec target/release/weir up

## The binary for production, laid out by its own load: target/optimised/weir. Half an hour on two cores.
release: target/optimised/weir

OPTIMISED_OF := Cargo.toml Cargo.lock control-plane node proto deploy/optimise.sh sim/bench
target/optimised/weir: $(wildcard $(shell git ls-files $(OPTIMISED_OF) 2>/dev/null)) | setup setup-bench
	@deploy/optimise.sh

## Everything that must hold.
test: setup-test
	cargo nextest run --workspace --locked --profile $(if $(CI),ci,default)
	cargo test --workspace --locked --doc --quiet

## What a reviewer should not have to look for.
lint: setup-lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo deny --log-level error check bans licenses sources

## One simulated run: make sim SCENARIO=name SEED=7
sim: setup
	@cargo run --quiet --locked -p weir-sim -- run $(SCENARIO) --seed $(SEED)

## Each seed in two processes must give one log: make sim-meta SEEDS=20
sim-meta: setup
	@cargo run --quiet --locked -p weir-sim -- meta $(SCENARIO) --seeds $(SEEDS)

## Purges that race with fetches over nodes, at random, by many schedules: make purge-schedules SCHEDULES=10000 SEED=7
purge-schedules: setup
	@WEIR_PURGE_SCHEDULES=$(SCHEDULES) WEIR_PURGE_SEED=$(SEED) \
		cargo test --quiet --locked -p weir-cache --test purge_schedules

## The public tests of HTTP caches, with their score; says how to get them: make cache-tests DIR=../cache-tests
cache-tests: setup
	@cargo build --release --locked --quiet --bin weir
	@python3 sim/conformance/cache_tests.py $(DIR) $(ARGS)

## Weir as `make release` builds it beside nginx, HAProxy, Envoy and Varnish, then all others; ARGS="--scenario S1 --rounds 5" narrows the first.
bench: release
	@python3 sim/bench/bench.py --install --weir target/optimised/weir $(ARGS)
	@$(MAKE) --no-print-directory bench-cache bench-broadcast bench-fleet bench-engines bench-logs bench-telemetry bench-status

## The cache in process, a crowd, purges and a failing Redis on nodes, memory over time: make bench-cache MINUTES=2
bench-cache: setup
	@cargo build --release --locked --quiet --bin weir
	@cargo bench --profile load --locked --quiet -p weir-cache --bench tiers
	@cargo bench --profile load --locked --quiet -p weir-node --bench cache -- --minutes $(MINUTES)

## Messages to many over real WebSockets: make bench-broadcast CLIENTS=1000
bench-broadcast: setup
	@cargo build --release --locked --quiet --bin weir
	@cargo bench --profile load --locked --quiet -p weir-broadcast --bench fan_out
	@cargo bench --profile load --locked --quiet -p weir-node --bench broadcast -- --clients $(CLIENTS)

## Thousands of simulated nodes on one control plane: make bench-fleet NODES="1000 5000"
bench-fleet: setup
	@cargo build --release --locked --quiet --bin weir
	@for nodes in $(NODES); do \
		cargo bench --profile load --locked --quiet -p weir-control-plane --bench fleet -- --nodes $$nodes; \
	done

## A burst of provisions, look-ups of ports on three nodes and in process: make bench-engines REQUESTS=100 LOOKS_S=10
bench-engines: setup
	@cargo build --release --locked --quiet --bin weir
	@cargo bench --profile load --locked --quiet -p weir-node --bench engines -- --requests $(REQUESTS) --seconds $(LOOKS_S)

## The newest lines of a log of 1 GiB, and what it costs to write one: make bench-logs
bench-logs: setup
	@cargo bench --profile load --locked --quiet -p weir-node --bench logs

## What heap samples cost allocations, traces and metrics requests, and a scrape with 1,000 backends: make bench-telemetry ROUNDS=11
bench-telemetry: setup
	@cargo build --release --locked --quiet --bin weir
	@cargo bench --profile load --locked --quiet -p weir-heap --bench cost
	@cargo bench --profile load --locked --quiet -p weir-node --bench telemetry -- --rounds $(ROUNDS)

## What it costs to look at nodes: make bench-status
bench-status: setup
	@cargo build --release --locked --quiet --bin weir
	@cargo bench --profile load --locked --quiet -p weir-node --bench status

# The build needs Rust, a C compiler, and protoc for the etcd client. Weir's own schema is compiled in Rust.
setup:
	@command -v cargo >/dev/null || { echo "weir needs Rust 1.90 or newer: https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "weir needs a C compiler: apt-get install gcc"; exit 1; }
	@protoc --descriptor_set_out=/dev/null google/protobuf/descriptor.proto 2>/dev/null \
		|| $(call apt,protobuf-compiler libprotobuf-dev)

# Where no Docker answers, tests start one of their own.
setup-test: setup
	@{ command -v etcd && command -v etcdctl; } >/dev/null \
		|| $(call apt,etcd-server etcd-client)
	@command -v redis-server >/dev/null || $(call apt,redis-server)
	@command -v python3 >/dev/null || $(call apt,python3)
	@command -v chromium >/dev/null || $(call apt,chromium)
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || $(call apt,libfaketime)
	@{ command -v prometheus && command -v promtool && command -v docker-compose; } >/dev/null \
		|| $(call apt-idle,prometheus docker-compose,prometheus)
	@command -v openssl >/dev/null || $(call apt,openssl)
	@command -v systemd-analyze >/dev/null || $(call apt,systemd)
	@command -v strip >/dev/null || $(call apt,binutils)
	@{ command -v unshare && command -v nsenter && command -v setpriv; } >/dev/null || $(call apt,util-linux)
	@{ docker version || { command -v dockerd && command -v docker-init && command -v setpriv; }; } >/dev/null 2>&1 \
		|| $(call apt,docker.io util-linux)
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-nextest

## The image of Weir, out of a build of this machine; needs a Docker.
image: setup
	@deploy/image.sh

## The cluster of deploy/compose.yaml, with secrets of its own; DOWN=1 ends it.
cluster:
	@deploy/secrets.sh
	@$(COMPOSE) --file deploy/compose.yaml $(if $(DOWN),down,up --detach)

setup-bench:
	@{ command -v /usr/sbin/nginx && command -v wrk && command -v h2load; } >/dev/null \
		|| $(call apt-idle,nginx-light wrk nghttp2-client,nginx)
	@ls "$$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata >/dev/null 2>&1 \
		|| rustup component add llvm-tools || { echo "weir: please install llvm-tools of your Rust"; exit 1; }

setup-lint: setup
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny
