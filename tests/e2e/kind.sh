#!/usr/bin/env bash
# Runs these tests on a kind cluster, which lasts as long as they do.
#   kind.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
stop() { echo "make e2e-kind: $1" >&2; exit 1; }
docker info >/dev/null 2>&1 ||
  stop "no Docker engine answers \`docker info\`. Start one; or run \`make e2e-node\`, which needs none."
command -v kind >/dev/null ||
  stop "there is no \`kind\` on the PATH: go install sigs.k8s.io/kind@v0.30.0"
for client in helm kubectl; do
  command -v $client >/dev/null || [ -x .cache/real/kubernetes/bin/$client ] ||
    stop "there is no \`$client\`: install it, or build it by \`make real\`."
done

image=taskloom.test/taskloom:e2e cluster=taskloom-e2e-$$ folder=$(mktemp -d)
trap 'kind delete cluster --name "$cluster"; rm -rf "$folder"' EXIT
docker build --tag "$image" .
kind create cluster --name "$cluster" --kubeconfig "$folder/kubeconfig" --wait 180s
kind load docker-image "$image" --name "$cluster"
TASKLOOM_TEST_KUBECONFIG=$folder/kubeconfig TASKLOOM_TEST_IMAGE=$image .venv/bin/pytest tests/e2e "$@"
