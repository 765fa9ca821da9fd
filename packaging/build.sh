#!/usr/bin/env bash
# Builds a package, in an environment of its own; arguments go to the program.
#   packaging/build.sh dists  [--out DIR]      sdist and wheel
#   packaging/build.sh bundle [--help]         all that an installation without network needs
#   packaging/build.sh deb    [--help]         a Debian package
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
    dists | bundle | deb) program=packaging/$1.py ;;
    *)
        sed -n '2,5s/^# \{0,1\}//p' packaging/build.sh >&2
        exit 2
        ;;
esac
shift
python=
for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "build.sh: needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 1; }
venv=${OPTIMIZER_BUILD_VENV:-$PWD/build/venv}
stamp=$(cksum <packaging/tools.lock)-$("$python" -c 'import sys; print(sys.version)' | cksum)
if [ "$(cat "$venv/.optimizer-stamp" 2>/dev/null || true)" != "$stamp" ]; then
    echo "setting up $venv ..." >&2
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/tools.lock
    printf '%s' "$stamp" >"$venv/.optimizer-stamp"
fi
exec "$venv/bin/python" "$program" "$@"
