#!/bin/sh
# Makes the secrets of the cluster of compose.yaml, those that are not there yet. Needs openssl.
#
#   deploy/secrets.sh [FOLDER]            deploy/secrets unless told
#
# An authority, a certificate for the control planes, one for each node that says which node it is, the first
# administrator's token, and a password for Grafana. Containers read them as users of their own, so the files are open and
# the folder is closed.
set -eu

folder=${1:-$(dirname "$0")/secrets}
days=825
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"

# certificate NAME EXTENSION: a key and a certificate of the authority.
certificate() {
    [ ! -f "$1.pem" ] || return 0
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key.new" \
        -subj "/CN=$1" -out "$1.csr" 2>/dev/null
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%s\n' "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days "$days" -extfile "$1.ext" \
        -out "$1.pem.new" 2>/dev/null
    mv "$1.key.new" "$1.key"
    mv "$1.pem.new" "$1.pem"
    rm "$1.csr" "$1.ext"
}

secret() {
    [ -f "$1" ] || printf '%s%s\n' "$2" "$(openssl rand -hex 32)" >"$1"
}

if [ ! -f ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -days "$days" \
        -subj "/CN=weir" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -out ca.pem 2>/dev/null
fi
certificate control-plane "extendedKeyUsage=serverAuth
subjectAltName=DNS:control-plane-1,DNS:control-plane-2,DNS:localhost,IP:127.0.0.1"
for node in node-1 node-2 node-3; do
    certificate "$node" "extendedKeyUsage=clientAuth
subjectAltName=URI:weir://default/node/$node"
done
secret admin-token weir_
secret grafana-password ""
chmod 0444 ./*
chmod 0400 ca.key
