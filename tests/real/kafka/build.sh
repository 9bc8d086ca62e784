#!/usr/bin/env bash
# Fetches Apache Kafka, which tests run for real, from its Maven artifacts into .cache/real/kafka/libs.
# Fetched once: a second run finds it and ends at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
real=$here/../../../.cache/real
mkdir -p "$real/kafka"
real=$(cd "$real" && pwd)

version=$(cat "$here/build.sh" "$here/pom.xml" | sha256sum | cut -c1-16)
is_there() { [ "$(cat "$real/kafka/version" 2>/dev/null)" = "$version" ]; }
is_there && exit 0

for program in java mvn; do
  if ! command -v $program >/dev/null; then
    echo "Kafka is fetched and run with Java 17 or newer and Maven, and there is no \`$program\` on the PATH." >&2
    echo "Install both (Debian: apt-get install openjdk-17-jdk-headless maven), then run make again." >&2
    exit 1
  fi
done

# One at a time; whoever waited finds it done.
exec 9>"$real/kafka/lock"
flock 9
is_there && exit 0
echo "Fetching Kafka, once: some 60 MB."
rm -rf "$real/kafka/libs" "$real/kafka/version"
nice -n 10 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$real/maven" \
  --file "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$real/kafka/libs"
rm -rf "$here/target"
echo "$version" >"$real/kafka/version"
echo "Fetched: $real/kafka"
