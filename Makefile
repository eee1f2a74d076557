# Everything here is also plain terraform, ansible-playbook and pytest; make only spares the typing.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

TARGET   ?= local
TOPOLOGY ?= single
NAME     ?= pipeline
ARCH     ?= $(if $(filter aws,$(TARGET)),arm64,x86_64)
DATASET  ?= sample

# Where terraform puts what it generates: inventories/<folder>, generated/<folder>.
folder    := $(TARGET)$(if $(filter-out pipeline,$(NAME)),-$(NAME))
python    := .venv/bin/python
# Other targets than local have a provider, which tools/providers finds or makes where no registry answers.
providers := $(if $(filter-out local,$(TARGET)),export TF_CLI_CONFIG_FILE && TF_CLI_CONFIG_FILE=$$(tools/providers $(TARGET)) &&)
terraform := env TF_WORKSPACE=$(if $(filter-out pipeline,$(NAME)),$(NAME),default) terraform -chdir=terraform/$(TARGET)
# Two inits at a time would meet in terraform's folder.
alone     := $(if $(filter local,$(TARGET)),flock terraform/local/versions.tf)
# For tools/setup: what this machine needs depends on the hosts.
export ARCH TARGET
tf_vars   := -var-file=../topologies/$(TOPOLOGY).tfvars -var name=$(NAME) -var arch=$(ARCH)

export ANSIBLE_INVENTORY := inventories/pipeline/hosts.yml,inventories/$(folder)/hosts.yml
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Knobs given to make reach Ansible; all others stand in inventories/pipeline/group_vars/all/knobs.yml.
ifeq ($(DATASET),imdb)
BASICS  ?= https://datasets.imdbws.com/title.basics.tsv.gz
RATINGS ?= https://datasets.imdbws.com/title.ratings.tsv.gz
else ifneq ($(DATASET),sample)
$(error DATASET is "$(DATASET)"; it must be sample (generated) or imdb (the real dumps, downloaded))
endif
extra_vars := \
	$(if $(BASICS),-e producer_basics=$(BASICS)) \
	$(if $(RATINGS),-e producer_ratings=$(RATINGS)) \
	$(if $(MSGS_PER_SEC),-e producer_msgs_per_sec=$(MSGS_PER_SEC)) \
	$(if $(PRODUCER_LIMIT),-e producer_limit=$(PRODUCER_LIMIT)) \
	$(if $(RUN_ID),-e streaming_run_id=$(RUN_ID))
# The tests look for the settings that the deployment was given.
export DEPLOY_ARGS ?= $(strip $(extra_vars))

##@ The pipeline

.PHONY: up
up: ## Make the hosts, deploy, wait for the first rows, show the status page
	@tools/setup
	@$(MAKE) --no-print-directory -j3 hosts artifacts sample
	@$(MAKE) --no-print-directory deploy
	@$(python) tools/status.py --target $(folder) --wait 120

.PHONY: down
down: ## Remove the hosts with their data and tables
	@$(providers) $(alone) $(terraform) init -input=false >/dev/null
	@$(providers) $(terraform) destroy -input=false -auto-approve $(tf_vars)

.PHONY: hosts
hosts: ## Make the hosts alone, or bring back those that died (terraform apply)
	@tools/setup
	@$(providers) $(alone) $(terraform) init -input=false >/dev/null
	@$(providers) $(terraform) apply -input=false -auto-approve $(tf_vars)
	@$(if $(filter-out local,$(TARGET)),$(python) tools/reach.py --target $(folder),:)

.PHONY: deploy
deploy: ## Install and configure everything on the hosts (ansible-playbook)
	@tools/setup
	@ansible-playbook ansible/site.yml $(extra_vars)

.PHONY: artifacts
artifacts: ## Fetch and verify what is installed: Kafka, Spark, Python packages
	@tools/setup
	@$(python) artifacts/artifacts.py fetch >/dev/null

.PHONY: sample
sample: ## Generate the sample data set, in IMDb's format
	@tools/setup
	@[ -s data/sample/title.ratings.tsv.gz ] || $(python) tools/sample_data.py --out data/sample

##@ Looking

.PHONY: status
status: ## Show hosts, units, topic, queries and tables on one screen (JSON=1 for machines)
	@$(python) tools/status.py --target $(folder) $(if $(JSON),--json)

UNIT ?= imdb-streaming
.PHONY: logs
logs: ## Follow the journal of a unit: make logs UNIT=imdb-producer
	@$(python) tools/logs.py --target $(folder) $(UNIT)

.PHONY: tunnel
tunnel: ## Put the web UIs on localhost: 8080 master, 8081 worker, 4040 job
	@$(python) tools/tunnel.py --target $(folder)

##@ Proof

.PHONY: verify
verify: ## Check the running pipeline by testinfra, and its tables row by row (with the knobs given to up)
	@tools/setup
	@$(python) -m pytest tests/roles tests/pipeline -m "verify"

.PHONY: lint
lint: ## Lint everything
	@tools/setup
	@tools/lint

.PHONY: test
test: ## All that proves it, the fast and broad half
	@TARGET=libvirt tools/setup
	@TARGET=aws tools/setup
	@tools/test

.PHONY: test-roles
test-roles: ## Molecule for every role, every scenario on both Debians, and some on arm64
	@ARCH=arm64 tools/setup
	@tools/test-roles

.PHONY: test-terraform
test-terraform: ## Plans, contract and security scan of all targets; aws applied to a moto server
	@tools/setup
	@TARGET=libvirt tools/setup
	@TARGET=aws tools/setup
	@tools/test-terraform

.PHONY: test-libvirt
test-libvirt: ## An emulated virtual machine with Kafka, for real
	@TARGET=libvirt tools/setup
	@.venv/bin/pytest tests/terraform/test_libvirt.py

.PHONY: test-cluster
test-cluster: ## Ten hosts: verified, rolled, grown, and hosts replaced while data flows
	@tools/setup
	@tools/test-cluster cluster

.PHONY: test-all
test-all: ## The slow half too: every fault, both Debians, arm64
	@ARCH=arm64 tools/setup
	@TARGET=libvirt tools/setup
	@TARGET=aws tools/setup
	@tools/test --all

##@ Measuring

# What it is given beside: BENCH="--records 100000 --prefill 0 --repeats 1" for a trial.
BENCH ?= --prefill 10000000
.PHONY: bench-streaming
bench-streaming: ## The streaming job beside a bare one and the original's shape (half an hour)
	@tools/setup
	@PYTHONPATH=artifacts:. $(python) -m tests.bench.bench_streaming $(BENCH)

.PHONY: bench-producer
bench-producer: ## Time the producer beside the original's method and a bare client loop (ARGS="--part rate")
	@tools/setup
	@PYTHONPATH=producer:tools:artifacts:. $(python) -m tests.bench.bench_producer $(ARGS)

##@ Upkeep

.PHONY: lock
lock: ## Refresh artifacts/artifacts.lock after a change of versions
	@tools/setup
	@$(python) artifacts/artifacts.py lock

.PHONY: help
help: ## Print this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nTARGET=local|libvirt|aws TOPOLOGY=single|three|cluster NAME=pipeline ARCH=x86_64|arm64\n'
	@printf 'DATASET=sample|imdb or BASICS=path-or-URL RATINGS=path-or-URL; MSGS_PER_SEC PRODUCER_LIMIT RUN_ID\n'
