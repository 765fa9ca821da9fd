#!/usr/bin/env bash
# Lints, type-checks and tests, in an environment of its own; arguments go to pytest.
#   ./test.sh                 everything but the long tests, those of disks and of installations
#   ./test.sh -m long         the long ones
#   ./test.sh -m "disks and not long"   those that make filesystems on loop devices, as root
#   ./test.sh -m installed    those that install the program in a system made for it, as root
#   ./test.sh tests/unit      one folder
#   OPTIMIZER_TEST_WHEEL=1 ./test.sh ...   the same on the built wheel, installed (as CI does)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
wheel_wanted=${OPTIMIZER_TEST_WHEEL:-}
venv=${OPTIMIZER_TEST_VENV:-$PWD/.venv-test${wheel_wanted:+-wheel}}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
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
    if [ -z "$wheel_wanted" ]; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    fi
    printf '%s' "$stamp" >"$venv/.optimizer-stamp"
fi
bin=$venv/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/vermin" --quiet --no-tips --target=3.7- --violations recover/*.py
"$bin/mypy" --platform linux
"$bin/mypy" --platform win32
if [ $# -eq 0 ]; then set -- -m "not long and not installed and not disks"; fi
if [ -n "$wheel_wanted" ]; then
    # The tests run where none of the packages is, so that only the installed wheel can be meant.
    tree=$here/build/wheel-tests
    rm -rf "$tree" "$venv/dist"
    mkdir -p "$tree"
    "$bin/python" packaging/dists.py --out "$venv/dist" >&2
    wheels=("$venv"/dist/*.whl)
    "$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "${wheels[0]}"
    for path in .[!.]* *; do
        case $path in
            .git | .venv* | .*_cache | .hypothesis | optimizer | recover | stressers | build | dist | *.egg-info) ;;
            *) cp -R "$path" "$tree/" ;;
        esac
    done
    export OPTIMIZER_CHECKOUT=$here OPTIMIZER_TESTED_WHEEL=${wheels[0]}
    cd "$tree"
fi
exec "$bin/python" -m pytest "$@"
