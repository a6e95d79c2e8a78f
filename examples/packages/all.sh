#!/bin/sh
# Writes the package index of this Debian or Ubuntu machine (some 60,000
# packages) to the file named, as NDJSON for `stele import`:
#
#   apt-get update && examples/packages/all.sh packages.ndjson
set -eu

out=${1:?usage: all.sh OUTPUT.ndjson}
here=$(cd "$(dirname "$0")" && pwd)
case $out in /*) ;; *) out=$(pwd)/$out ;; esac

files=$(apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages')
[ -n "$files" ] || { echo "all.sh: apt knows no package index: run apt-get update first" >&2; exit 1; }

trap 'rm -f "$out.apt" "$out.tmp"' EXIT
: >"$out.apt"
for file in $files; do
	# apt keeps its lists compressed in ways of its own; its helper reads them all.
	/usr/lib/apt/apt-helper cat-file "$file" >>"$out.apt"
	echo >>"$out.apt"
done
(cd "$here" && go run . parse "$out.apt") >"$out.tmp"
[ -s "$out.tmp" ] || { echo "all.sh: the index is empty: run apt-get update first" >&2; exit 1; }
mv "$out.tmp" "$out"
echo "$(wc -l <"$out") packages in $out" >&2
