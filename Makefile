# Taskloom.  `make` alone lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet install --constraint constraints.txt
ONCE   ?=
ENGINE ?=
KAFKA  ?=
IMAGE  ?= taskloom:0.1.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Taskloom needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# Stamps: what is installed is installed again only when it is asked for anew.
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

.PHONY: run
run: $(VENV)/.run $(if $(ENGINE),engines) $(if $(KAFKA),kafka) ## Tell the whole story on http://127.0.0.1:8080 (ONCE=1 ends after it, ENGINE=operaton or camunda7 runs it there, KAFKA=1 sends and tells it by Kafka)
	@$(if $(ENGINE),$(BIN)/python -m tests.real.engines.run $(ENGINE)) $(if $(KAFKA),$(BIN)/python -m tests.real.kafka.run) $(BIN)/taskloom story $(if $(ONCE),--once)

.PHONY: test
test: check ## Everything: lint, generated files, all tests

.PHONY: check
check: lint verify pytest ## The same, as it is run before every commit

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests run on a real Kubernetes API server: ours, or the cluster that is named.
REAL := $(if $(TASKLOOM_TEST_KUBECONFIG),,real)

.PHONY: pytest
pytest: $(VENV)/.dev engines kafka nats sqs workers $(REAL) ## All tests
	$(BIN)/pytest

.PHONY: real
real: ## Build what tests run for real of Kubernetes (etcd, kube-apiserver, ...), once
	@tests/real/kubernetes/build.sh

.PHONY: engines
engines: ## Build the workflow engines that tests run for real (Camunda 7, Operaton), once
	@tests/real/engines/build.sh

.PHONY: kafka
kafka: ## Fetch the Kafka broker that tests run for real, once
	@tests/real/kafka/build.sh

.PHONY: nats
nats: ## Build the NATS server that tests run for real, once
	@tests/real/nats/build.sh

.PHONY: sqs
sqs: ## Fetch the server of SQS (ElasticMQ) that tests run for real, once
	@tests/real/sqs/build.sh

.PHONY: workers
workers: $(VENV)/.dev ## Fetch the JavaScript worker that tests run for real, once
	@tests/real/workers/build.sh

.PHONY: kubernetes
kubernetes: $(VENV)/.dev $(REAL) ## Only the tests on a real Kubernetes API server
	$(BIN)/pytest tests/kubernetes

.PHONY: node
node: real
	@tests/real/kubernetes/build.sh node

.PHONY: image
image: $(VENV)/.dev ## Build the image: with Docker, else without, as root
	@if docker info >/dev/null 2>&1; then docker build --tag $(IMAGE) .; \
	else tests/real/kubernetes/build.sh node \
	  && $(BIN)/python -m tests.real.node.image .cache/real/node/image $(IMAGE); fi

.PHONY: e2e-node
e2e-node: $(VENV)/.dev node ## The chart's pods for real, on a node without Docker, as root
	$(BIN)/pytest tests/e2e

.PHONY: e2e-kind
e2e-kind: $(VENV)/.dev ## The same tests on a kind cluster
	@tests/e2e/kind.sh

.PHONY: generate
generate: $(VENV)/.dev ## Make the generated files anew
	$(BIN)/python -m taskloom.resources.crd --output crds
	$(BIN)/python -m taskloom.resources.crd --output charts/taskloom/files/crds
	$(BIN)/python -m taskloom.resources.reference --output docs/reference/resources.md
	$(BIN)/python -m taskloom.api.openapi --output docs/openapi.json
	$(BIN)/python -m taskloom.cli.reference --output docs/reference/cli.md
	$(BIN)/python -m taskloom.cli.settings_reference --output docs/reference/settings.md
	@if command -v $(HELM) >/dev/null; then $(MAKE) --no-print-directory manifests; fi

HELM ?= $(or $(wildcard .cache/real/kubernetes/bin/helm),helm)

.PHONY: chart
chart: ## Lint the chart with each of its sets of values, and pack it into dist/
	@for values in charts/taskloom/ci/*.yaml; do \
	   $(HELM) lint --strict charts/taskloom --values $$values >/dev/null || exit 1; done
	@$(HELM) package charts/taskloom --destination dist

.PHONY: manifests
manifests: ## Render manifests/install.yaml from the chart (needs helm: make real builds one)
	@{ printf '%s\n' '# Made from charts/taskloom by `make manifests`: the default values, in the namespace taskloom.' \
	     'apiVersion: v1' 'kind: Namespace' 'metadata:' '  name: taskloom' '  labels:' \
	     '    pod-security.kubernetes.io/enforce: restricted'; \
	   $(HELM) template taskloom charts/taskloom --namespace taskloom --skip-tests; } > manifests/install.yaml

.PHONY: verify
verify: generate ## Fail if a generated file is not what is checked in
	@git diff --exit-code --stat -- crds docs charts manifests \
	  || { echo "Generated files were out of date: they are new now, commit them."; exit 1; }

.PHONY: bench
bench: $(VENV)/.dev ## Measure: events in, and the way to a webhook
	$(BIN)/python bench/trigger.py
	$(BIN)/python bench/webhook.py

.PHONY: bench-operator
bench-operator: $(VENV)/.dev real ## Measure: 10,000 objects on a real API server (OBJECTS=n)
	$(BIN)/python -m bench.controller --objects $(or $(OBJECTS),10000)

.PHONY: bench-engine
bench-engine: $(VENV)/.dev engines ## Measure: external tasks of a real engine, beside pycamunda (ENGINE=operaton)
	$(BIN)/python -m bench.external_tasks --engine $(or $(ENGINE),operaton)

.PHONY: format
format: $(VENV)/.dev ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove what was installed and made
	rm -rf $(VENV) .cache .taskloom .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: bench-kafka
bench-kafka: $(VENV)/.dev kafka ## Measure: events from Kafka to durable rows, beside a consumer that only counts
	$(BIN)/python -m bench.kafka
