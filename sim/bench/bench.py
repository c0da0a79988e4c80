#!/usr/bin/env python3
"""Measures Weir beside nginx, HAProxy, Envoy and Varnish on this machine and writes a Markdown table.

The proxy has core 0 to itself; the load generator and the origin share core 1. Every round runs
every peer once and starts one peer later than the round before, so that a slow spell of the
machine falls on all of them. Figures compare within one table only.
"""

import argparse
import http.client
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from peers import BACKENDS, CACHED, ROOT, STATUS_PORT, WORK, install, peers

PROXY_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP, MARGIN = 1, 0.5  # seconds of load before the measured run, and in it on each side of the window
FETCHES_MAX = 10  # what the origin may see of what is kept
DISTURBED = 0.10  # cores other processes may use during a run that counts

SCENARIOS = {  # what it is, path, tool and its options
    "S1": ("HTTP/1.1 keep-alive, 1 KiB, 64 connections", "/1k", "wrk", "-c64"),
    "S2": ("HTTP/1.1 keep-alive, 1 KiB, 1,000 connections", "/1k", "wrk", "-c1000"),
    "S4": ("HTTP/1.1 keep-alive, 1 MiB, 16 connections", "/1m", "wrk", "-c16"),
    "S5": ("h2c in, HTTP/1.1 out, 1 KiB, 8 connections of 8 streams", "/1k", "h2load", "-c8", "-m8"),
    "S7": ("from the cache, HTTP/1.1 keep-alive, 1 KiB, 64 connections", "/kept/1k", "wrk", "-c64"),
    "S7L": ("from the cache, HTTP/1.1 keep-alive, 32 KiB, 64 connections", "/kept/32k", "wrk", "-c64"),
    "S9": ("HTTP/1.1, 1 KiB, a new connection each request, 64 at a time", "/1k", "wrk", "-c64", "-HConnection: close"),
}


@dataclass
class Run:
    """What one peer did in one round of one scenario."""

    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float  # microseconds of CPU a request
    busy: float  # cores the proxy used
    foreign: float  # cores that neither we nor the idle loop used
    instructions: float | None


def stat(pid):
    """The fields of /proc/PID/stat that follow the command name; none once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def tree(root):
    """The process and all its descendants."""
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if fields := stat(pid):
            children.setdefault(int(fields[1]), []).append(int(pid))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(pids):
    return sum(int(fields[11]) + int(fields[12]) for fields in map(stat, pids) if fields) / TICKS


@contextmanager
def running(command, core, **options):
    """A pinned process that ends with this block, or with this script should that be killed."""
    pinned = ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "TERM", *command]
    process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        family = tree(process.pid)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in filter(stat, family):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def serving(peer, core):
    """The peer's process, from when a GET through it is answered in full."""
    folder = WORK / "run" / peer.name
    command = peer.command(folder)
    (folder / "1m").write_bytes(b"w" * (1 << 20))
    (folder / "kept").mkdir()
    for name, kibibytes in (("1k", 1), ("32k", 32)):
        (folder / "kept" / name).write_bytes(b"w" * (kibibytes << 10))
    for port in (peer.h1, peer.h2):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise RuntimeError(f"port {port} is taken")
    with open(folder / "log", "w") as log, running(command, core, stdout=log, stderr=log) as process:
        deadline, answer = time.monotonic() + 10, None
        while answer != (200, b"w" * 1024):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"not ready, see {folder / 'log'}")
            time.sleep(0.02)
            try:
                answer = get(peer.h1, "/1k")
            except (OSError, http.client.HTTPException):
                answer = None
        yield process


def snapshot(proxy, others):
    """(time, requests the origin has seen, CPU seconds of the proxy, of all that is ours, of the machine)."""
    requests = int(get(STATUS_PORT, "/")[1].split()[9])
    cores = [line.split() for line in Path("/proc/stat").read_text().splitlines() if re.match(r"cpu\d", line)]
    machine = sum(sum(map(int, core[1:4] + core[6:9])) for core in cores) / TICKS  # all but idle and waiting
    own = os.times()
    return time.monotonic(), requests, cpu_seconds(proxy), cpu_seconds(proxy + others) + own.user + own.system, machine


def count_instructions(pids, seconds):
    """Waits; the instructions executed meanwhile, or none where perf cannot count them."""
    command = ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-p", ",".join(map(str, pids))]
    counted = subprocess.run([*command, "--", "sleep", str(seconds)], capture_output=True, text=True)
    values = re.findall(r"^(\d+),", counted.stderr, re.M)
    return sum(map(int, values)) if values else None


def read_wrk(text):
    """(requests, errors, p50 and p99 in microseconds) from what wrk printed."""
    units = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}
    p50, p99 = (re.search(rf"^ +{part}% +([\d.]+)([a-z]+)$", text, re.M) for part in (50, 99))
    errors = re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text)
    requests = int(re.search(r"(\d+) requests in", text)[1])
    return requests, sum(map(int, errors)), *(float(found[1]) * units[found[2]] for found in (p50, p99))


def read_h2load(text, log):
    """The same from h2load, whose log has a line a request: start, status, microseconds."""
    counts = re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    done, *errors = map(int, counts.groups())
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    return done, sum(errors), times[len(times) // 2], times[len(times) * 99 // 100]


def measure(peer, key, seconds, origin, perf):
    if origin.poll() is not None:
        raise RuntimeError("the origin has ended")
    _, path, tool, *options = SCENARIOS[key]
    log = WORK / "run" / "h2load.log"
    kind = ["wrk", "--latency", "--timeout", "5s", "-d"] if tool == "wrk" else ["h2load", f"--log-file={log}", "-D"]
    url = f"http://127.0.0.1:{peer.h1 if tool == 'wrk' else peer.h2}{path}"

    def load(duration):
        log.unlink(missing_ok=True)
        return running([*kind, str(duration), "-t1", *options, url], LOAD_CORE, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    with ExitStack() as stack:
        proxied = peer.name != "origin"
        proxy = tree(stack.enter_context(serving(peer, PROXY_CORE)).pid) if proxied else []
        with load(WARM_UP) as generator:
            generator.communicate(timeout=WARM_UP + 30)
        before = snapshot([], [])[1]
        with load(seconds + round(2 * MARGIN)) as generator:
            time.sleep(MARGIN)
            others = [*tree(origin.pid), generator.pid]
            start = snapshot(proxy, others)
            instructions = count_instructions(proxy, seconds) if perf and proxied else time.sleep(seconds)
            end = snapshot(proxy, others)
            text, _ = generator.communicate(timeout=seconds + 30)
        seen = snapshot([], [])[1] - before
    try:
        sent, errors, p50, p99 = read_wrk(text) if tool == "wrk" else read_h2load(text, log)
    except (TypeError, AttributeError, OSError, IndexError):
        raise RuntimeError(f"{tool} said: {' '.join(text.split())[-200:]}") from None
    wall, requests, cpu, ours, machine = (b - a for a, b in zip(start, end))
    if key in CACHED and proxied:
        if seen > FETCHES_MAX:
            raise RuntimeError(f"the origin has seen {seen} requests, so not all came from the cache")
        requests, seen = sent * wall / (seconds + round(2 * MARGIN)), sent
    if not requests or (not errors and abs(seen - sent) > 1000 + sent // 100):  # some are under way at either end
        raise RuntimeError(f"{sent} requests answered, {seen} seen by the origin")
    return Run(rate=requests / wall, p50=p50, p99=p99, errors=errors, cpu=cpu * 1e6 / requests, busy=cpu / wall,
               foreign=max(0.0, (machine - ours) / wall),
               instructions=instructions and instructions / seconds * wall / requests)


def version(program, flag):
    """The version number that a program prints of itself."""
    try:
        shown = subprocess.run([program, flag], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError) as problem:
        return f"of unknown version ({problem})"
    found = re.search(r"\d+\.\d+[\w.+~-]*", (shown.stdout + shown.stderr).replace(program, ""))
    return found[0] if found else "of unknown version"


def runs_in(outcomes):
    """Outcomes are runs, or texts of what went wrong. Returns all the runs, and those that count."""
    runs = [outcome for outcome in outcomes if isinstance(outcome, Run)]
    return runs, [run for run in runs if run.foreign <= DISTURBED] or runs


def row(name, outcomes, base):
    """One peer's line of a table, where `base` is the CPU a request of nginx."""
    runs, clean = runs_in(outcomes)
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if errors := sum(run.errors for run in runs):
        problems.append(f"**{errors} errors**")
    if not runs:
        return f"| {name} |" + " – |" * 7 + f" **failed**: {'; '.join(sorted(set(problems)))} |"
    middle = {key: median(getattr(run, key) for run in clean) for key in ("rate", "p50", "p99", "cpu", "busy")}
    cpu = [run.cpu for run in clean]
    if any(cpu):
        ratio = f"{middle['cpu'] / base:.2f}" if base else "–"
        cells = [f"**{middle['cpu']:.1f}** ({min(cpu):.1f}–{max(cpu):.1f})", ratio, f"{100 * middle['busy']:.0f} %"]
    else:
        cells = ["–", "–", "–"]
    if counted := [run.instructions for run in clean if run.instructions]:
        cells[0] += f", {median(counted):,.0f} instructions"
    disturbed = sum(run.foreign > DISTURBED for run in runs)
    foreign = f"{max(run.foreign for run in runs):.2f}" + f" ({disturbed} of {len(runs)} disturbed)" * bool(disturbed)
    cells += [f"{middle[key]:,.0f}" for key in ("rate", "p50", "p99")]
    return f"| {name} | " + " | ".join([*cells, foreign, "; ".join(sorted(set(problems))) or "none"]) + " |"


def render(arguments, entrants, absent, table):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    lines = ["# Weir beside its peers", "",
             f"{time.strftime('%Y-%m-%d %H:%M')}, {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
             f"Linux {platform.release()}, commit {commit.stdout.strip() or 'unknown'}, "
             f"wrk {version('wrk', '-v')}, h2load {version('h2load', '--version')}. The proxy is on core {PROXY_CORE}, "
             f"load generator and origin (nginx, {len(BACKENDS)} ports) on core {LOAD_CORE}. Medians over rounds "
             f"({arguments.rounds}) of {arguments.seconds} s each, peers alternating.", ""]
    lines += [f"- {peer.name} {version(peer.program, peer.version_flag)}: {peer.settings}" for peer in entrants]
    lines += [f"- {peer.name}: left out, as {peer.program} is not there" for peer in absent]
    for key, rows in table.items():
        of_nginx = [run.cpu for run in runs_in(rows.get("nginx", rows.get("nginx-cache", ())))[1]]
        lines += ["", f"## {key}: {SCENARIOS[key][0]}", "",
                  "| | CPU µs a request (min–max) | × nginx | core used | requests/s | p50 µs | p99 µs "
                  "| foreign cores | errors |", "|---|" + "---:|" * 7 + "---|"]
        lines += [row(name, outcomes, of_nginx and median(of_nginx)) for name, outcomes in rows.items()]
    lines += ["", "CPU: user and system time of the proxy's process tree over the window, divided by the requests that "
              "reached the origin in it, or for S7 by those that were answered. Requests/s is a proxy's own limit only "
              "where it used about 100 % of its core. "
              "p50 and p99 are those of a closed loop at full load, connections warm. Foreign cores: what others took "
              f"of this machine at worst; runs above {DISTURBED:.2f} are left out, unless all were.", ""]
    return "\n".join(lines)


def takes_part(peer, key):
    everywhere = () if key in CACHED and peer.program else (key,)
    return key in (peer.only or everywhere)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one (may be repeated)")
    parser.add_argument("--peer", action="append", choices=[peer.name for peer in peers("")], help="likewise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="length of the measured window")
    parser.add_argument("--quick", action="store_true", help="one round of S1")
    parser.add_argument("--perf", action="store_true", help="also count instructions, where perf can")
    parser.add_argument("--weir", type=Path, default=ROOT / "target/release/weir", metavar="PATH")
    parser.add_argument("--out", type=Path, default=WORK / "bench.md", metavar="FILE")
    parser.add_argument("--install", action="store_true", help="first install the tools that are missing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.scenario = 1, ["S1"]
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    return arguments


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, and so ends the children
    if arguments.install:
        install()
    if missing := [tool for tool in ("nginx", "wrk", "h2load", "taskset", "setpriv") if not shutil.which(tool)]:
        sys.exit(f"missing: {', '.join(missing)}; --install gets what apt has")
    if not os.sched_getaffinity(0) >= {PROXY_CORE, LOAD_CORE}:
        sys.exit("this needs two cores")
    everyone = peers(arguments.weir.resolve())
    keys = arguments.scenario or list(SCENARIOS)
    chosen = [peer for peer in everyone if peer.name in (arguments.peer or [peer.name])
              and any(takes_part(peer, key) for key in keys)]
    entrants = [peer for peer in chosen if shutil.which(peer.program)]
    absent = [peer for peer in chosen if peer not in entrants]
    table = {}
    with serving(everyone[-1], LOAD_CORE) as origin:
        for key in keys:
            competitors = [peer for peer in entrants if takes_part(peer, key)]
            table[key] = {peer.name: [] for peer in competitors}
            for turn in range(arguments.rounds):
                first = turn % max(1, len(competitors))
                for peer in competitors[first:] + competitors[:first]:
                    try:
                        outcome = measure(peer, key, arguments.seconds, origin, arguments.perf)
                    except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
                        outcome = str(problem)
                    table[key][peer.name].append(outcome)
                    shown = f"{outcome.cpu:.1f} µs, {outcome.rate:,.0f}/s" if isinstance(outcome, Run) else outcome
                    print(f"{key} round {turn + 1}, {peer.name}: {shown}", file=sys.stderr, flush=True)
    text = render(arguments, entrants, absent, table)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text)
    print(text)
    outcomes = [outcome for rows in table.values() for outcomes in rows.values() for outcome in outcomes]
    sys.exit(any(isinstance(outcome, str) or outcome.errors for outcome in outcomes))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(f"bench: {error}")
