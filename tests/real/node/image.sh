#!/usr/bin/env bash
# Builds the Dockerfile's image without a Docker engine, by buildah, and the pause image of every pod.
#   image.sh FOLDER IMAGE   writes FOLDER/taskloom.tar, named IMAGE, and FOLDER/pause.tar: OCI archives
# The base image comes from no registry: it is a Debian made here by debootstrap, of the same release
# and with the same Python at the same place, under the name that the Dockerfile gives.
# Runs among mounts of its own (tests/real/node/image.py).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../../.." && pwd)
folder=$1 image=$2
dockerfile=${DOCKERFILE:-$source/Dockerfile}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$folder"

cat >"$folder/policy.json" <<<'{"default": [{"type": "insecureAcceptAnything"}]}'
cat >"$folder/registries.conf" <<<'unqualified-search-registries = ["docker.io"]'
registries=(--registries-conf "$folder/registries.conf")
policy=(--signature-policy "$folder/policy.json")
store() { local verb=$1; shift; buildah --root "$folder/store" --runroot /run/store \
  --storage-driver "${STORAGE_DRIVER:-overlay}" "${registries[@]}" "$verb" "$@"; }

# The images that the Dockerfile stands on; a stage's name is no image.
bases=$(awk 'toupper($1) == "ARG" && $2 ~ /=/ {split($2, pair, "="); value[pair[1]] = substr($2, length(pair[1]) + 2)}
  toupper($1) == "FROM" {
    base = $2 ~ /^--/ ? $3 : $2
    for (name in value) { gsub("[$][{]" name "[}]", value[name], base); gsub("[$]" name, value[name], base) }
    if (!(base in stage) && base != "scratch") print base
    if (toupper($(NF - 1)) == "AS") stage[$NF] = 1 }' "$dockerfile" | sort -u)

make_base() { # image: docker.io/library/python:VERSION-slim-RELEASE or python:VERSION-slim
  local name=$1 release container
  case "$name" in
  *python:3.11-slim | *python:3.11-slim-bookworm | *python:3.11.*-slim*) release=bookworm ;;
  *python:3.13-slim | *python:3.13-slim-trixie | *python:3.13.*-slim*) release=trixie ;;
  *) echo "No stand-in for the base image $name: image.sh knows the Pythons of Debian, 3.11 and 3.13." >&2; return 1 ;;
  esac
  local root=$folder/$release
  if [ ! -e "$root/made" ]; then
    echo "Making a Debian $release, once: some 90 seconds."
    rm -rf "$root"
    debootstrap --variant=minbase --keyring="$keyring" --include=ca-certificates,python3-pip,python3-venv,tzdata \
      "$release" "$root" >"$folder/debootstrap.log" 2>&1 ||
      { echo "debootstrap failed, the end of $folder/debootstrap.log:" >&2; tail -5 "$folder/debootstrap.log" >&2; return 1; }
    # As in the image that it stands for: Python below /usr/local, and a pip that may install there.
    ln -s /usr/bin/python3 "$root/usr/local/bin/python3"
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    ln -s /usr/bin/pip3 "$root/usr/local/bin/pip"
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    touch "$root/made"
  fi
  store inspect --type image "$name" >/dev/null 2>&1 && return
  container=$(store from --pull-never scratch)
  store add --quiet "$container" "$root" / >/dev/null
  store config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --cmd '["python3"]' "$container"
  store commit "${policy[@]}" --quiet --rm "$container" "$name" >/dev/null
}

for base in $bases; do make_base "$base"; done

# pip is to reach its index by the ways of this machine.
volumes=()
for path in /etc/pip.conf /etc/ssl/certs; do [ ! -e $path ] || volumes+=(--volume "$path:$path:ro"); done

store bud "${policy[@]}" --isolation chroot --network host --pull-never --layers --quiet \
  "${volumes[@]}" --file "$dockerfile" --tag "$image" "$source"
rm -f "$folder/taskloom.tar" "$folder/pause.tar"
store push "${policy[@]}" --quiet "$image" "oci-archive:$folder/taskloom.tar:$image"

container=$(store from --pull-never scratch)
store copy --quiet "$container" "$here/../../../.cache/real/kubernetes/node/pause" /pause >/dev/null
store config --entrypoint '["/pause"]' --user 65535:65535 "$container"
store commit "${policy[@]}" --quiet --rm "$container" taskloom.test/pause:1 >/dev/null
store push "${policy[@]}" --quiet taskloom.test/pause:1 "oci-archive:$folder/pause.tar:taskloom.test/pause:1"
