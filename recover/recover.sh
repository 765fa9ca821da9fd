#!/bin/sh
# Takes away all load of CloudResourceOptimizer on this host and what a daemon has left.
# Finds any Python from 3.7 on, needs no environment of its own, and hands all
# arguments to recover_system.py; see ./recover.sh --help.
set -u
# By the shell alone: in an emergency PATH may be broken too.
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
    python3.9 python3.8 python3.7 python /usr/bin/python3 /usr/local/bin/python3 \
    "$here/../.venv/bin/python"; do
    [ -n "$candidate" ] || continue
    # Isolated: a broken PYTHONHOME or PYTHONPATH must not matter here.
    if "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null; then
        exec "$candidate" -I -B "$here/recover_system.py" "$@"
    fi
done
echo "recover.sh: needs Python 3.7 or newer and found none" >&2
echo "  remedy: name one: PYTHON=/path/to/python3 $0; without any: systemctl stop optimizer" >&2
exit 127
