#!/bin/sh
# Makes what an image holds: the programs, what they are linked with, users, certificates. Needs binutils.
#
#   deploy/rootfs.sh FOLDER PROGRAM...
#
# FOLDER/root becomes the root of the image, FOLDER/data is the empty folder of its data. The same programs on the same
# system give the same bytes.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 FOLDER PROGRAM..." >&2; exit 2; }
folder=$1
shift
root=$folder/root
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/weir" "$root/run" "$folder/data"
mkdir -m 1777 -p "$root/tmp"

for program; do
    to=$root/usr/bin/$(basename "$program")
    cp --dereference "$program" "$to"
    strip --strip-debug "$to"
    chmod 0755 "$to"
    # `name => /path (address)`, and the loader as `/path (address)`; a static program has none.
    { ldd "$program" || true; } 2>/dev/null | sed -n 's/.*\(\s\|^\)\(\/[^ ]*\) (0x.*/\2/p' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp --dereference --update "$library" "$root$library"
    done
done

# By name only for people: the image is started by number.
printf 'root:x:0:0:root:/:/nologin\nweir:x:65532:65532:weir:/var/lib/weir:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nweir:x:65532:\n' >"$root/etc/group"
# glibc asks /etc/hosts before the name server only when told.
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
authorities=/etc/ssl/certs/ca-certificates.crt
[ ! -f "$authorities" ] || cp "$authorities" "$root$authorities"

find "$folder" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
