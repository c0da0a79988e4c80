#!/usr/bin/env python3
"""The Autobahn suite's cases of permessage-deflate (sections 12 and 13) for a server, on Python 3.

Takes the place of the suite's own `wstest`, which needs Python 2, for these cases: they are read from a checkout of the
suite, and nothing else of it is used. Needs `pip install autobahn==0.10.9 twisted txaio==2.1.0 pyopenssl setuptools`.

    WSTEST="python3 sim/conformance/wstest_deflate.py ../autobahn-testsuite" CASES="12.* 13.*" \\
        cargo run --release -p weir-core --example websocket_autobahn

With COUNT each case sends so many messages instead of 1,000.
"""

import fnmatch
import json
import os
import pathlib
import sys
import types

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, connectWS
from autobahn.websocket.compress import PERMESSAGE_COMPRESSION_EXTENSION
from twisted.internet import reactor


def cases_of(suite):
    """The cases by their ids, from the files that make them."""
    package = pathlib.Path(suite) / "autobahntestsuite" / "autobahntestsuite"
    sys.modules["pkg_resources"] = types.SimpleNamespace(resource_filename=lambda _, name: str(package / name))
    for name in ["case", "case12_x_x"]:
        module = types.ModuleType(name)
        # Python 3 takes no base before one that is made of it.
        source = (package / "case" / f"{name}.py").read_text().replace("(object, Case, )", "(Case, )")
        sys.modules[name] = module
        exec(compile(source, name, "exec"), module.__dict__)
    made = module.Case12_X_X + module.Case13_X_X
    return {one.__name__[len("Case"):].replace("_", "."): one for one in made}


class Talk(WebSocketClientProtocol):
    """What a case may do with its connection."""

    connectionWasOpen = False

    def connectionMade(self):
        self.connectionWasOpen = False
        self.runCase = self.factory.case(self)
        WebSocketClientProtocol.connectionMade(self)

    def onOpen(self):
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload, isBinary):
        self.runCase.onMessage(payload, isBinary)

    def onClose(self, wasClean, code, reason):
        self.runCase.onClose(wasClean, code, reason)

    def enableWirelog(self, _):
        """Nothing is written down."""

    def closeAfter(self, seconds):
        self.late = reactor.callLater(seconds, self.sendClose)

    def connectionLost(self, reason):
        self.runCase.onConnectionLost(self.failedByMe)
        WebSocketClientProtocol.connectionLost(self, reason)
        if getattr(self, "late", None) and self.late.active():
            self.late.cancel()
        self.factory.done(self.runCase)


def main():
    suite, spec = sys.argv[1], json.loads(pathlib.Path(sys.argv[sys.argv.index("-s") + 1]).read_text())
    [server] = spec["servers"]
    count = int(os.environ.get("COUNT", "1000"))
    assert "permessage-deflate" in PERMESSAGE_COMPRESSION_EXTENSION
    wanted = [(name, case) for name, case in cases_of(suite).items()
              if any(fnmatch.fnmatch(name, one) for one in spec["cases"])
              and not any(fnmatch.fnmatch(name, one) for one in spec["exclude-cases"])]
    told, left = {}, iter(wanted)

    def following():
        name, case = next(left, (None, None))
        if name is None:
            return reactor.stop()
        case.COUNT = min(case.COUNT, count)
        factory = WebSocketClientFactory(server["url"])
        factory.protocol, factory.case = Talk, case
        factory.setProtocolOptions(failByDrop=False)

        def done(run):
            told[name] = {"behavior": run.behavior, "behaviorClose": run.behaviorClose, "result": run.result}
            print(name, run.behavior, run.behaviorClose, run.result, run.resultClose, flush=True)
            reactor.callLater(0, following)

        factory.done = done
        connectWS(factory)

    reactor.callWhenRunning(following)
    reactor.run()
    reports = pathlib.Path(spec["outdir"])
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "index.json").write_text(json.dumps({server["agent"]: told}))


if __name__ == "__main__":
    main()
