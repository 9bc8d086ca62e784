#!/usr/bin/env bash
# Fetches ElasticMQ, a server that speaks SQS, which tests run for real, from its Maven artifacts into .cache/real/sqs/libs.
# Fetched once: a second run finds it and ends at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
real=$here/../../../.cache/real
mkdir -p "$real/sqs"
real=$(cd "$real" && pwd)

version=$(cat "$here/build.sh" "$here/pom.xml" | sha256sum | cut -c1-16)
is_there() { [ "$(cat "$real/sqs/version" 2>/dev/null)" = "$version" ]; }
is_there && exit 0

for program in java mvn; do
  if ! command -v $program >/dev/null; then
    echo "ElasticMQ is fetched and run with Java 17 or newer and Maven, and there is no \`$program\` on the PATH." >&2
    echo "Install both (Debian: apt-get install openjdk-17-jdk-headless maven), then run make again." >&2
    exit 1
  fi
done

# One at a time; whoever waited finds it done.
exec 9>"$real/sqs/lock"
flock 9
is_there && exit 0
echo "Fetching ElasticMQ, once: some 50 MB."
rm -rf "$real/sqs/libs" "$real/sqs/version"
nice -n 10 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$real/maven" \
  --file "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$real/sqs/libs"
rm -rf "$here/target"
echo "$version" >"$real/sqs/version"
echo "Fetched: $real/sqs"
