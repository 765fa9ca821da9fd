#!/bin/sh
# Puts the parts of a transfer together. Run it again after each transfer: parts
# that are whole stay, those to send (again) are named, and it joins when all are here.
#
#   sh join.sh              check, and join into the folder above
#   sh join.sh --missing    only the names of the parts to send, one a line
set -u
cd "$(dirname "$0")" || exit 1
case ${1:-} in
'' | --missing) ;;
*)
    echo "join.sh: unknown argument '$1'; there is only --missing" >&2
    exit 2
    ;;
esac
for file in SHA256SUMS WHOLE; do
    [ -s "$file" ] || {
        echo "join.sh: $file is missing; remedy: send it too, it is beside the parts" >&2
        exit 1
    }
done
missing=
good=0
while read -r sum name; do
    if [ ! -e "$name" ]; then
        why="is missing"
    elif [ "$(sha256sum <"$name" | cut -d' ' -f1)" != "$sum" ]; then
        why="is broken or not complete"
    else
        good=$((good + 1))
        continue
    fi
    missing="$missing $name"
    if [ -n "${1:-}" ]; then echo "$name"; else echo "join.sh: $name $why: send it again" >&2; fi
done <SHA256SUMS
[ -z "${1:-}" ] || exit 0
if [ -n "$missing" ]; then
    echo "join.sh: $good parts are whole; not yet:$missing" >&2
    exit 1
fi
read -r sum whole <WHOLE
if cut -c67- SHA256SUMS | while read -r name; do cat "$name" || exit 1; done >"../$whole.joining" &&
    [ "$(sha256sum <"../$whole.joining" | cut -d' ' -f1)" = "$sum" ] &&
    mv "../$whole.joining" "../$whole"
then
    echo "whole: $whole"
else
    rm -f "../$whole.joining"
    echo "join.sh: cannot write $whole whole; remedy: see that the folder above has room for it" >&2
    exit 1
fi
