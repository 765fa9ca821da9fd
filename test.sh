#!/usr/bin/env bash
# Lints, type-checks and tests, in an environment of its own; arguments go to pytest.
#   ./test.sh                 everything but the long tests
#   ./test.sh -m long         the long ones
#   ./test.sh tests/unit      one folder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${OPTIMIZER_TEST_VENV:-$PWD/.venv-test}
python=
for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "test.sh: needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 1; }
stamp=$(cat requirements-dev.lock setup.cfg | cksum)-$PWD-$("$python" -c 'import sys; print(sys.version)' | cksum)
if [ "$(cat "$venv/.optimizer-stamp" 2>/dev/null || true)" != "$stamp" ]; then
    echo "setting up $venv ..." >&2
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s' "$stamp" >"$venv/.optimizer-stamp"
fi
bin=$venv/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/vermin" --quiet --no-tips --target=3.7- --violations recover/*.py
"$bin/mypy" --platform linux
"$bin/mypy" --platform win32
if [ $# -eq 0 ]; then set -- -m "not long"; fi
exec "$bin/python" -m pytest "$@"
