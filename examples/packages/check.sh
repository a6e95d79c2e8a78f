#!/usr/bin/env bash
# Imports a package index and holds the database's answers against those of a
# plain program that looks at every line of the file:
#
#   examples/packages/check.sh bin/stele packages.ndjson
#
# Without a file it takes the bundled 3,000 packages. Ends with the number of
# comparisons, or with the first difference.
set -euo pipefail

stele=$(realpath "${1:?usage: check.sh STELE [FILE.ndjson]}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

file=$work/packages.ndjson
case ${2:-} in
'') gzip -dc "$here/packages.ndjson.gz" >"$file" ;;
*) cp "$2" "$file" ;;
esac
db=file://$work/db
plain=$work/plain
(cd "$here" && go build -o "$plain" .)

compared=0
same() { # same WHAT EXPECTED GOT
	if ! cmp -s "$2" "$3"; then
		echo "check.sh: $1: the answers differ" >&2
		diff "$2" "$3" | head -n 6 | cut -c1-200 >&2
		exit 1
	fi
	compared=$((compared + 1))
	printf '  %6d rows  %s\n' "$(wc -l <"$3")" "$1"
}
ask() { # ask FILTER [QUERY FLAGS] -- FIND FLAGS
	local filter=$1 flags=() what
	shift
	while [ "$1" != -- ]; do flags+=("$1") && shift; done
	shift
	what="$filter ${flags[*]}"
	"$plain" find "$@" "$file" >"$work/want"
	"$stele" query --db "$db" Package "$filter" --json ${flags[@]+"${flags[@]}"} >"$work/got"
	same "$what" "$work/want" "$work/got"
}

"$stele" import --db "$db" --schema "$here/package.proto" "$file" | tail -n 1
"$stele" verify --db "$db"

echo "lists and ranges, by index:"
for s in net libs games python contrib/games no-such-section; do
	ask "section = \"$s\"" --order name -- -section "$s"
done
for m in 'Debian Games Team' 'Matthias Klose' 'Debian Go Packaging Team'; do
	ask "maintainer = \"$m\"" --order name -- -maintainer "$m"
done
for d in libc6 python3 perl libssl3 no-such-package; do
	ask "depends:\"$d\"" --order name -- -depends "$d"
done
for range in '0 0' '1000 1100' '100000 99999999' '5 4'; do
	read -r low high <<<"$range"
	ask "installed_size >= $low AND installed_size <= $high" --order installed_size -- -min "$low" -max "$high" -by-size
	ask "installed_size >= $low AND installed_size <= $high" --order installed_size --desc -- -min "$low" -max "$high" -by-size -reverse
done
ask 'section = "net" AND installed_size >= 1000 AND depends:"libc6"' --order installed_size --desc --limit 20 -- \
	-section net -min 1000 -depends libc6 -by-size -reverse -limit 20

echo "a copy explains itself:"
"$stele" export --db "$db" Package >"$work/export"
"$plain" find "$file" >"$work/want"
same 'export' "$work/want" "$work/export"
cp -r "$work/db" "$work/copy"
"$stele" export --db "file://$work/copy" Package >"$work/got"
same 'export of a copy made with cp -r' "$work/export" "$work/got"
"$stele" schema --db "file://$work/copy" Package >"$work/got"
same 'schema of the copy' "$here/package.proto" "$work/got"
"$stele" slate get --db "file://$work/copy" __schema__Package >"$work/got"
same 'the engine key __schema__Package' "$here/package.proto" "$work/got"

if command -v protoc >/dev/null; then
	"$stele" schema --db "file://$work/copy" --out "$work/proto"
	(cd "$work/proto" && protoc -I . --descriptor_set_out="$work/set" $(find . -name '*.proto' | sed 's|^\./||'))
	echo "  protoc compiles what schema --out wrote"
fi
echo "$compared comparisons, all equal"
