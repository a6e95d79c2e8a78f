#!/usr/bin/env bash
# Builds the newest SlateDB from crates.io, with its Python bindings, into .venv
# beside this file, unless it is there. That takes some ten minutes on two
# processors. It needs Rust, Python 3.10 or newer, curl and coreutils.
set -euo pipefail
cd "$(dirname "$0")"

version=0.18.0
sha256=659b3fb3b57647ee90960f97069c47b61f63d010e3e77c811d35aab4f25415e1

if [ -e ".venv/slatedb-$version" ]; then exit 0; fi
for tool in cargo python3 curl sha256sum; do
  command -v "$tool" >/dev/null || { echo "interop-latest: $tool is missing" >&2; exit 1; }
done

rm -rf .venv
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt

crate="slatedb-uniffi-$version"
curl -sSfL "https://static.crates.io/crates/slatedb-uniffi/$crate.crate" -o ".venv/$crate.crate"
echo "$sha256  .venv/$crate.crate" | sha256sum --check --quiet
tar -xzf ".venv/$crate.crate" -C .venv

cd ".venv/$crate"
cargo build --release --locked --target-dir target
library=$(find target/release -maxdepth 1 -name 'libslatedb_uniffi.so' -o -maxdepth 1 -name 'libslatedb_uniffi.dylib')
../bin/uniffi-bindgen generate --library "$library" --language python --no-format --out-dir bindings

package=$(../bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/slatedb
mkdir -p "$package"
cp bindings/slatedb.py "$package/uniffi.py"
cp "$library" "$package/"
echo "__version__ = \"$version\"" >"$package/__init__.py"
rm -rf target
touch "../slatedb-$version"
