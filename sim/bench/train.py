#!/usr/bin/env python3
"""Puts a load on a Weir that was built to count, so that the next build knows what is asked for most.

Each path of a request has its turn: from backends, from the cache, from files, compressed in each coding,
over HTTP/1.1 and HTTP/2, on kept and on new connections. Nothing is measured.
"""

import random
import subprocess
import sys
from pathlib import Path

from bench import LOAD_CORE, PROXY_CORE, running, serving
from peers import WEIR, WORK, Peer, peers

SECONDS = 2
TEXTS = WORK / "texts"
TEXTS_BYTES = (2 << 10, 32 << 10, 256 << 10)

ROUTES = """
[ingress]
listen = "127.0.0.1:9390"
compression = ["br", "gzip", "zstd"]
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


def main():
    weir = Path(sys.argv[1]).resolve()
    config = WEIR.replace('[ingress]\nlisten = "127.0.0.1:9390"\n', "") + ROUTES.replace("$TEXTS", str(TEXTS))
    trained = Peer("trained", 9390, 9390, "", str(weir), "", "node --config $DIR/weir.toml", "weir.toml", config)
    origin = peers(weir)[-1]
    write_texts()
    with serving(origin, LOAD_CORE), serving(trained, PROXY_CORE):
        for command, path in loads():
            with running([*command, f"http://127.0.0.1:9390{path}"], LOAD_CORE, stdout=subprocess.DEVNULL) as load:
                if load.wait(SECONDS + 30) != 0:
                    sys.exit(f"{command[0]} failed on {path}")


if __name__ == "__main__":
    main()
