"""Runs the public suite of HTTP caches (https://cache-tests.fyi) against a node, and tells the score.

    git clone https://github.com/http-tests/cache-tests
    git -C cache-tests checkout b55b8bd && npm install --omit dev --prefix cache-tests
    make cache-tests DIR=cache-tests

The suite stands on both sides of the node: as the origin, and as its client. It takes about a minute and ends with
failure if the score is below the goals.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMIT = "b55b8bd"
# How many must pass, of how many: what the suite demands of every cache, and what the best ones do.
GOALS = {"required": (150, 160), "optimal": (90, 105)}
SCORE = Path(__file__).with_name("score.mjs")
PATIENCE_S = 20


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port, process, what):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


def config(origin, ingress, grpc, api, folder, route):
    return f"""
[ingress]
listen = ["127.0.0.1:{ingress}"]
[grpc]
listen = "127.0.0.1:{grpc}"
[http_api]
listen = "127.0.0.1:{api}"
[node]
data_dir = "{folder}/data"
[services.origin]
backends = ["127.0.0.1:{origin}"]
[[routes]]
service = "origin"
cache = {{ {route} }}
"""


def check_commit(suite):
    if not (suite / "test-engine" / "cli.mjs").is_file():
        sys.exit(f"{suite} is no checkout of the suite\n{__doc__}")
    head = subprocess.run(["git", "-C", suite, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    if not head.startswith(COMMIT):
        print(f"the suite is at {head or 'an unknown commit'}, the goals are of {COMMIT}", file=sys.stderr)


def run(suite, weir, folder, route):
    origin, ingress, grpc, api = free_ports(4)
    file = folder / "node.toml"
    file.write_text(config(origin, ingress, grpc, api, folder, route))
    suite_says = {
        **os.environ,
        "npm_config_protocol": "http",
        "npm_config_port": str(origin),
        "npm_config_pidfile": str(folder / "pid"),
        "npm_config_base": f"http://127.0.0.1:{ingress}",
        "npm_package_config_id": "",
    }
    node = ["node", "--no-warnings"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([*node, "test-engine/server/server.mjs"], cwd=suite, env=suite_says, **quiet)
    proxy = subprocess.Popen([weir, "node", "--config", file], **quiet)
    try:
        wait_for(origin, server, "the suite's origin")
        wait_for(ingress, proxy, "the node")
        told = subprocess.run([*node, "test-engine/cli.mjs"], cwd=suite, env=suite_says, capture_output=True, text=True)
    finally:
        for process in (server, proxy):
            process.terminate()
            process.wait()
    if told.returncode != 0:
        sys.exit(told.stderr)
    results = folder / "results.json"
    results.write_text(told.stdout[told.stdout.index("{"):])
    scored = subprocess.run([*node, SCORE, suite, results], check=True, capture_output=True, text=True)
    return json.loads(scored.stdout)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("suite", type=Path, help="a checkout of the suite, with its packages")
    arguments.add_argument("--weir", default="target/release/weir", help="the program")
    arguments.add_argument("--bad-requests", action="store_true", help="keep 400 too, which a route does not by itself")
    asked = arguments.parse_args()
    suite, weir = asked.suite.resolve(), Path(asked.weir).resolve()
    check_commit(suite)
    route = 'bad_request_ttl_max = "1h"' if asked.bad_requests else "heuristic = true"
    with tempfile.TemporaryDirectory() as folder:
        score = run(suite, weir, Path(folder), route)
    is_good = True
    for kind, (goal, of) in GOALS.items():
        passed = score[kind]["passed"]
        is_good &= passed >= goal
        print(f"{kind}: {passed} of {score[kind]['of']} pass, the goal is {goal} of {of}")
        for failed in score[kind]["failed"]:
            print(f"  {failed}")
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
