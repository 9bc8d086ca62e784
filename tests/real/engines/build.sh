#!/usr/bin/env bash
# Builds the workflow engines that tests run for real, from their Maven artifacts, into .cache/real/engines:
# camunda7/engine.jar and operaton/engine.jar, each with its REST API.
# Built once: a second run finds them and ends at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
real=$here/../../../.cache/real
mkdir -p "$real/engines"
real=$(cd "$real" && pwd)

version_of() { # what an engine is made of: with the same inputs there is nothing to do
  (cd "$here" && find build.sh "$1" -type f -not -path '*/target/*' -print0 | LC_ALL=C sort -z | xargs -0 cat) \
    | sha256sum | cut -c1-16
}
is_built() { [ "$(cat "$real/engines/$1/version" 2>/dev/null)" = "$(version_of "$1")" ]; }
is_built camunda7 && is_built operaton && exit 0

for program in java mvn; do
  if ! command -v $program >/dev/null; then
    echo "The workflow engines are built and run with Java 17 or newer and Maven, and there is no \`$program\` on the PATH." >&2
    echo "Install both (Debian: apt-get install openjdk-17-jdk-headless maven), then run make again." >&2
    exit 1
  fi
done

# One build at a time; whoever waited finds it done.
exec 9>"$real/engines/lock"
flock 9
for engine in camunda7 operaton; do
  is_built $engine && continue
  echo "Building $engine, once: less than a minute."
  new=$real/engines/new.$$
  trap 'rm -rf "$new"' EXIT
  rm -rf "$new"
  mkdir -p "$new"
  cp -r "$here/$engine" "$new/source"
  nice -n 10 mvn --batch-mode --quiet -Dstyle.color=never -Dmaven.repo.local="$real/maven" \
    --file "$new/source/pom.xml" package
  mkdir "$new/done"
  mv "$new/source/target/engine.jar" "$new/done/engine.jar"
  version_of $engine >"$new/done/version"
  rm -rf "$real/engines/$engine"
  mv "$new/done" "$real/engines/$engine"
  rm -rf "$new"
done
echo "Built: $real/engines"
