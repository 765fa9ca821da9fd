#!/bin/sh
# Installs CloudResourceOptimizer from this folder, without any network. Run it again
# after an interruption: what is done stays, the rest is made up for.
#
#   ./install.sh                             for the system, as a service (as root, with systemd)
#   ./install.sh --prefix DIR --no-service   into a folder, for any user; nothing is started
#   ./install.sh --check                     only see whether it would do here
#   ./install.sh --uninstall [--purge]       take the service and the program away; --purge: all files
#   --python PATH                            the Python to use, of the version that MANIFEST names
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
prefix=/opt/cloud-resource-optimizer
service=yes
act=install
purge=
python=${PYTHON:-}

fail() {
    echo "install.sh: $1" >&2
    echo "  remedy: $2" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --python)
        [ $# -gt 1 ] || {
            echo "install.sh: $1 needs a path" >&2
            exit 2
        }
        if [ "$1" = --prefix ]; then prefix=$2; else python=$2; fi
        shift
        ;;
    --no-service) service=no ;;
    --check) act=check ;;
    --uninstall) act=uninstall ;;
    --purge) purge=--purge ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "install.sh: unknown argument '$1'; ./install.sh --help tells all" >&2
        exit 2
        ;;
    esac
    shift
done
case $prefix in
/*) ;;
*) prefix=$PWD/$prefix ;;
esac

need_root() {
    [ "$(id -u)" = 0 ] || fail "a service is installed by root" \
        "sudo $0, or into a folder of yours: $0 --prefix ~/cloud-resource-optimizer --no-service"
    [ -d /run/systemd/system ] || fail "systemd does not run here, so there can be no service" \
        "$0 --prefix DIR --no-service, then run DIR/venv/bin/optimizer run as you start programs here"
}

if [ "$act" = uninstall ]; then
    if [ "$service" = yes ]; then
        need_root
        [ ! -x "$prefix/venv/bin/optimizer" ] || "$prefix/venv/bin/optimizer" service uninstall $purge
    fi
    # Nothing but what venv.sh makes: the folder may have been there before.
    rm -rf "$prefix/venv" "$prefix/.venv.new" "$prefix/venvs" "$prefix/.lock"
    rmdir "$prefix" 2>/dev/null || true
    echo "removed: $prefix"
    exit 0
fi

# 1. Every file as it was built
cd "$here"
[ -s SHA256SUMS ] || fail "SHA256SUMS is missing" "unpack the bundle again"
while read -r sum name; do
    [ -e "$name" ] || fail "$name is missing" "unpack the bundle again"
    found=$(sha256sum <"$name" | cut -d' ' -f1)
    [ "$found" = "$sum" ] || fail "$name is broken: its SHA-256 is $found, not $sum" \
        "unpack the bundle again; if that does not help, transfer it again"
done <SHA256SUMS
echo "Files         ok: $(wc -l <SHA256SUMS) are as they were built"

# 2. The machine, its C library, its Python
VERSION='' MACHINE='' PYTHON='' GLIBC=''
# shellcheck source=/dev/null
. ./MANIFEST
machine=$(uname -m)
case $machine in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
esac
[ "$(uname -s)" = Linux ] || fail "this bundle is for Linux, this is $(uname -s)" \
    "see the README for other ways of installing it"
[ "$machine" = "$MACHINE" ] || fail "this bundle is for $MACHINE, this machine is $machine" \
    "build one for it: packaging/build.sh bundle --platform linux-$machine --python-version $PYTHON"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=
libc=${libc#glibc }
older=$(printf '%s\n%s\n' "$GLIBC" "${libc:-0}" | sort -t. -k1,1n -k2,2n | head -n 1)
[ "$older" = "$GLIBC" ] || fail "this bundle needs glibc $GLIBC or newer, here is ${libc:-another C library}" \
    "use a container image, or a newer distribution"
is_right() {
    "$1" -I -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$PYTHON')" 2>/dev/null
}
chosen=
# Those of the system first: the user of the service may not enter somebody's home.
for candidate in "$python" "/usr/bin/python$PYTHON" "/usr/local/bin/python$PYTHON" "python$PYTHON" python3; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && is_right "$candidate"; then
        chosen=$("$candidate" -I -c 'import sys; print(sys.executable)')
        break
    fi
done
[ -n "$chosen" ] || fail "this bundle needs Python $PYTHON; found: $(python3 --version 2>&1 || echo none)" \
    "install python$PYTHON or name it: --python PATH, or build one for yours: packaging/build.sh bundle --python-version 3.x"
echo "Machine       ok: $machine, glibc $libc, Python $PYTHON ($chosen)"

# 3. Room: unpacked and compiled, the wheels were 4.4 times as large
existing=$prefix
while [ ! -d "$existing" ]; do existing=$(dirname "$existing"); done
needed_kb=$(($(du -sk wheels | cut -f1) * 6))
free_kb=$(df -Pk "$existing" | awk 'NR == 2 { print $4 }')
[ -e "$prefix/venv/.complete" ] || [ "$free_kb" -ge "$needed_kb" ] ||
    fail "$prefix has room for $((free_kb / 1024)) MB, $((needed_kb / 1024)) MB are needed" \
        "make room, or name another folder: --prefix DIR"
[ "$service" = no ] || need_root
if [ "$act" = check ]; then
    echo "Nothing was changed; CloudResourceOptimizer $VERSION can be installed here."
    exit 0
fi

# 4. The environment, whole before it is used
sh ./venv.sh make "$prefix" "$here" "$chosen"
echo "Program       ok: $("$prefix/venv/bin/optimizer" --version) in $prefix"

# 5. The service
if [ "$service" = yes ]; then
    "$prefix/venv/bin/optimizer" service install
fi
sh ./venv.sh prune "$prefix"
[ "$service" = yes ] || echo "Run it with: $prefix/venv/bin/optimizer run"
