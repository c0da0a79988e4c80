#!/usr/bin/env python3
"""Puts a load on a Weir that was built to count, so that the next build knows what is asked for most.

What is asked for most has its turn: answers of backends, of the cache and of files, in each coding, over HTTP/1.1
and HTTP/2, on kept and on new connections, and messages to WebSockets. Nothing is measured.
"""

import http.client
import random
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import LOAD_CORE, PROXY_CORE, get, running, serving
from peers import WEIR, WORK, Peer, peers

SECONDS = 2
TEXTS = WORK / "texts"
TEXTS_BYTES = (2 << 10, 32 << 10, 256 << 10)
SUBSCRIBERS, MESSAGES = 500, 3_000

ROUTES = """
[ingress]
listen = "127.0.0.1:9390"
compression = ["br", "gzip", "zstd"]
[broadcaster]
anonymous = "all"
handshakes_per_second_max = 10000
publish_per_second_max = 10000
[services.files.files]
root = "$TEXTS"
cache_control = "max-age=3600"
[[routes]]
path = "/kept"
service = "origin"
cache = true
[[routes]]
path = "/files"
service = "files"
compress = true
[[routes]]
path = "/kept-files"
service = "files"
cache = true
compress = true
[[routes]]
path_exact = "/live"
broadcast = true
"""


def loads():
    """A command for each load, without its address, and the path that it asks for."""
    wrk = ["wrk", "-t1", "-d", str(SECONDS)]
    h2load = ["h2load", "-t1", "-D", str(SECONDS)]
    yield [*wrk, "-c64"], "/1k"
    yield [*wrk, "-c16"], "/1m"
    yield [*wrk, "-c64", "-HConnection: close"], "/1k"
    yield [*h2load, "-c8", "-m8"], "/1k"
    for path in ("/kept/1k", "/kept/32k"):
        yield [*wrk, "-c64"], path
        yield [*h2load, "-c8", "-m8"], path
    for coding in ("br", "gzip", "zstd", "identity"):
        for place in ("files", "kept-files"):
            for number in range(len(TEXTS_BYTES)):
                yield [*wrk, "-c16", f"-HAccept-Encoding: {coding}"], f"/{place}/{number}.html"


def write_texts():
    """Texts of words, which compress about as well as what people write."""
    words = (Path(__file__).read_text() + WEIR).split()
    draw = random.Random(1)
    for place in ("files", "kept-files"):
        (TEXTS / place).mkdir(parents=True, exist_ok=True)
        for number, length in enumerate(TEXTS_BYTES):
            text = " ".join(draw.choices(words, k=length // 4))
            (TEXTS / place / f"{number}.html").write_text(text[:length])


def subscribe(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(b"GET /live?topic=news HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    answer = client.recv(4096)
    if not answer.startswith(b"HTTP/1.1 101"):
        sys.exit(f"no WebSocket: {answer[:200]}")
    return client


def publish(port):
    """Messages to WebSockets that read now and then."""
    with ExitStack() as stack:
        subscribers = [stack.enter_context(subscribe(port)) for _ in range(SUBSCRIBERS)]
        publisher = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stack.callback(publisher.close)
        for number in range(MESSAGES):
            publisher.request("POST", "/live?topic=news", "x" * 100, {"Content-Type": "text/plain"})
            answer = publisher.getresponse()
            if answer.status != 200:
                sys.exit(f"not published: {answer.status} {answer.read()[:200]}")
            answer.read()
            if number % 50 == 49:
                for subscriber in subscribers:
                    subscriber.recv(64 << 10)


def main():
    weir = Path(sys.argv[1]).resolve()
    config = WEIR.replace('[ingress]\nlisten = "127.0.0.1:9390"\n', "") + ROUTES.replace("$TEXTS", str(TEXTS))
    trained = Peer("trained", 9390, 9390, "", str(weir), "", "node --config $DIR/weir.toml", "weir.toml", config)
    origin = peers(weir)[-1]
    write_texts()
    with serving(origin, LOAD_CORE), serving(trained, PROXY_CORE):
        for command, path in loads():
            if get(9390, path)[0] != 200:
                sys.exit(f"{path} is not answered")
            with running([*command, f"http://127.0.0.1:9390{path}"], LOAD_CORE, stdout=subprocess.DEVNULL) as load:
                if load.wait(SECONDS + 30) != 0:
                    sys.exit(f"{command[0]} failed on {path}")
        publish(9390)


if __name__ == "__main__":
    main()
