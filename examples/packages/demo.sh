#!/usr/bin/env bash
# Imports the bundled packages into a new database in a local folder and asks
# it a few questions, saying what it does:
#
#   examples/packages/demo.sh bin/stele
set -euo pipefail

stele=${1:?usage: demo.sh STELE}
here=$(dirname "$0")
folder=${STELE_DEMO:-.demo/packages}
db="file://./$folder"

rm -rf "$folder"

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s# %s%s\n' "$bold" "$1" "$plain"; }
run() {
	local quoted=()
	for a in "$@"; do
		case $a in *[!A-Za-z0-9_./:=,@%+-]*) quoted+=("'$a'") ;; *) quoted+=("$a") ;; esac
	done
	printf '$ %s\n' "${quoted[*]/#$stele/stele}"
	"$@"
}

tour() {
	say "Import 3,000 Debian packages into $folder, with four indexes"
	run "$stele" import --db "$db" --schema "$here/package.proto" "$here/packages.ndjson.gz"

	say "The database knows its own schema"
	run "$stele" schema --db "$db" Package

	say "Get a record by its key"
	run "$stele" get --db "$db" Package bash

	say "List by a field: what depends on libssl3"
	run "$stele" query --db "$db" Package 'depends:"libssl3"' --limit 5 --fields name,version,section,maintainer

	say "A range, largest first, by the index on installed_size"
	run "$stele" query --db "$db" Package 'installed_size >= 10000 AND installed_size < 20000' --order installed_size --desc --limit 5 --fields name,installed_size,section

	say "How that is answered"
	run "$stele" query --db "$db" Package 'installed_size >= 10000 AND installed_size < 20000' --order installed_size --desc --limit 5 --explain

	say "What the engine keeps in the folder"
	run "$stele" slate manifest --db "$db"
}

TIMEFORMAT=$'\nDone in %2R s.'
{ time tour; } 2>&1
cat <<EOT
The database is the folder $folder: copy it and it opens anywhere, in SlateDB too.
Go on with:

  $stele query  --db $db Package 'name = "lib*" AND section = "libs"' --limit 10 --json
  $stele export --db $db Package | head -n 3
  $stele verify --db $db
  $stele serve  $here/package.proto --db $db     # gRPC on localhost:50051
EOT
