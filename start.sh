#!/usr/bin/env bash
# Sets up a private Python environment if needed, checks what the daemon needs,
# and runs it in the foreground. Ctrl-C releases everything.
#
#   ./start.sh                     run with config/optimizer.env or config/.env, else defaults
#   ./start.sh -- --set KEY=VALUE  everything after -- goes to `optimizer run`
#   ./start.sh --setup-only        set up and check, do not run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
venv=${OPTIMIZER_VENV:-$here/.venv}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "start.sh: $1"
    say "  remedy: $2"
    exit 1
}

setup_only=no
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --setup-only) setup_only=yes ;;
        --)
            shift
            break
            ;;
        *)
            say "start.sh: unknown argument '$1'; arguments for the daemon come after --"
            exit 2
            ;;
    esac
    shift
done

# 1. Python
python=
for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.11 or newer; found: $(python3 --version 2>/dev/null || echo none)" \
    "install python3.11 from your distribution, or name one: PYTHON=/path/to/python3.11 ./start.sh"
say "Python        ok: $("$python" --version 2>&1) ($(command -v "$python"))"

# 2. Privilege
if [ "$(id -u)" = 0 ]; then
    say "Privilege     ok: root (files in /var/lib/optimizer and /var/log/optimizer unless WORKSPACE_DIR is set)"
else
    say "Privilege     ok: plain user (files in your home; disk is held only where you may write)"
fi

# 3. Dependencies, exactly those of the lock file, in an environment of our own
stamp=$(cat requirements.lock setup.cfg | cksum)-$here-$("$python" -c 'import sys; print(sys.version)' | cksum)
if [ "$(cat "$venv/.optimizer-stamp" 2>/dev/null || true)" != "$stamp" ]; then
    say "Dependencies  setting up $venv ..."
    rm -f "$venv/.optimizer-stamp"
    "$python" -m venv --clear "$venv" >&2 || fail "cannot make an environment in $venv" \
        "install the venv module (Debian, Ubuntu: apt-get install python3-venv) and see that the folder is writable, or name another: OPTIMIZER_VENV=/path ./start.sh"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2 ||
        fail "cannot install the dependencies of requirements.lock" \
            "see the message above; a host without network needs a package mirror (pip config set global.index-url ...)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2 ||
        fail "cannot install the program itself" "see the message above; the checkout must be writable"
    printf '%s' "$stamp" >"$venv/.optimizer-stamp"
fi
say "Dependencies  ok: $venv"

# 4. Configuration: a file in config/ is used when nothing else is named
if [ -z "${CONFIG_DIR:-}" ] && { [ -e config/optimizer.env ] || [ -e config/.env ]; }; then
    export CONFIG_DIR=$here/config
fi
"$venv/bin/optimizer" check-config "$@" >/dev/null || {
    code=$?
    say "  remedy: mend these keys (config/optimizer.env.example explains each), then start again"
    exit "$code"
}
say "Configuration ok"

[ "$setup_only" = no ] || exit 0
exec "$venv/bin/optimizer" run "$@"
