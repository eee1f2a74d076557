# Everything here is also plain terraform, ansible-playbook and pytest; make only spares the typing.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# An environment is a folder, inventories/$(NAME)/. What make is given on its command line counts; a NAME or TARGET of the
# caller's own variables does not.
TARGET   :=
TOPOLOGY :=
ARCH     :=
NAME     := $(or $(TARGET),local)
DATASET  := sample
# What `make rotate` changes.
WHAT    :=
# Whether `make update` says what it would do alone.
CHECK   :=
# From when on a support bundle has journals, as journalctl has it.
SINCE   :=
export SINCE
# Which backup is restored, as make backups lists them; where backups are, and a file with what opens them, for
# make restore-environment.
SNAPSHOT := latest
REPOSITORY :=
PASSWORD_FILE :=
# The words that let data go.
DELETE_DATA :=
CONFIRM     :=

environment := inventories/$(NAME)/environment.tfvars
given       := '$(NAME)' '$(TARGET)' '$(TOPOLOGY)' '$(ARCH)'
input       = $(shell sed -nE 's/^$(1)[[:space:]]*=[[:space:]]*"([^"]*)".*/\1/p' $(environment) 2>/dev/null)
target      = $(or $(call input,target),$(TARGET),local)
arch        = $(or $(call input,arch),$(ARCH),x86_64)

python    := .venv/bin/python
# For tools/setup: what this machine needs depends on the hosts.
setup      = ARCH=$(arch) TARGET=$(target) tools/setup
# Other targets than local have a provider, which tools/providers finds or makes where no registry answers.
providers  = $(if $(filter-out local,$(target)),export TF_CLI_CONFIG_FILE && TF_CLI_CONFIG_FILE=$$(tools/providers $(target)) &&)
terraform  = env TF_WORKSPACE=$(NAME) TF_VAR_delete_data='$(DELETE_DATA)' terraform -chdir=terraform/$(target)
# Two inits at a time would meet in terraform's folder.
init       = $(providers) $(if $(filter local,$(target)),flock terraform/local/versions.tf) $(terraform) init -input=false >/dev/null
tf_input   = -input=false -auto-approve -var-file=../../$(environment)

export ANSIBLE_INVENTORY := inventories/pipeline/hosts.yml,inventories/$(NAME)/hosts.yml
# Ansible takes no ansible.cfg from a folder that everybody may write to, unless it is named.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# The password of the environment's secrets, unless another is named.
vault_password := $(wildcard inventories/$(NAME)/.vault-password)
ifneq ($(vault_password),)
export ANSIBLE_VAULT_PASSWORD_FILE ?= $(CURDIR)/$(vault_password)
endif
# Where it is set (containers, mostly), each start of ansible-playbook would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Knobs given to make reach Ansible as they were typed (tools/knobs.py); all others stand in inventories/pipeline and in
# the environment.
knobs := BASICS RATINGS MSGS_PER_SEC PRODUCER_LIMIT RUN_ID
$(foreach knob,$(knobs),$(eval $(knob) :=))
ifeq ($(DATASET),imdb)
BASICS  := https://datasets.imdbws.com/title.basics.tsv.gz
RATINGS := https://datasets.imdbws.com/title.ratings.tsv.gz
else ifneq ($(DATASET),sample)
$(error DATASET is "$(DATASET)"; it must be sample (generated) or imdb (the real dumps, downloaded))
endif
$(foreach knob,$(knobs),$(eval override $(knob) := $$(value $(knob))))
export $(knobs)
with_knobs = knobs=$$(python3 tools/knobs.py) &&
# Of secrets that it cannot open Ansible says neither which file they are in nor what to do.
or_say_why = || { code=$$?; $(python) tools/vault.py $(NAME) check || :; exit $$code; }

##@ The pipeline

.PHONY: env
env: ## Make an environment, a folder: make env NAME=prod TARGET=aws TOPOLOGY=cluster
	@tools/environment make $(given)

.PHONY: secrets
secrets: ## Make the environment's secrets, or those that it lacks, by ansible-vault
	@$(setup)
	@$(python) tools/vault.py $(NAME)

.PHONY: up
up: ## Make the hosts and their secrets, deploy, wait for the first rows, show the status page
	@tools/environment ensure $(given)
	@$(MAKE) --no-print-directory -j4 hosts artifacts sample secrets
	@$(MAKE) --no-print-directory deploy
	@$(python) tools/status.py --environment $(NAME) --wait 120

.PHONY: down
down: override DELETE_DATA = $(NAME)
down: ## Delete the hosts with their data and tables; asks, or CONFIRM=<name>
	@tools/environment confirm '$(NAME)' '$(CONFIRM)'
	@$(setup)
	@$(init)
	@$(providers) $(terraform) destroy $(tf_input)

.PHONY: hosts
hosts: ## Make the hosts alone, or bring back those that died (terraform apply)
	@tools/environment check $(given)
	@$(setup)$(if $(filter local,$(target)), packages)
	@$(init)
	@$(if $(filter local,$(target)),terraform/local/scripts/network.sh repair,:)
	@$(providers) $(terraform) apply $(tf_input)
	@$(if $(filter-out local,$(target)),$(python) tools/reach.py --environment $(NAME),:)

.PHONY: deploy
deploy: ## Install and configure everything on the hosts (ansible-playbook)
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@$(with_knobs) ansible-playbook ansible/site.yml $${knobs:+-e "$$knobs"} $(or_say_why)

.PHONY: update
update: ## Take Debian's and Java's updates, host by host while data flows (CHECK=1 says which)
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@ansible-playbook ansible/update.yml $(if $(CHECK),--check) $(or_say_why)

.PHONY: rotate
rotate: ## Change secrets while it runs: WHAT=passwords, spark, certificates, ca or all
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@$(with_knobs) ansible-playbook ansible/rotate.yml $${knobs:+-e "$$knobs"} -e 'rotate=$(WHAT)' $(or_say_why)

.PHONY: switch-security
switch-security: ## Lead a running pipeline to what pipeline_security says, and back
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@$(with_knobs) ansible-playbook ansible/switch_security.yml $${knobs:+-e "$$knobs"} $(or_say_why)

.PHONY: backup
backup: ## Keep tables, position and the environment's folder in a repository, while data flows
	@tools/environment hosts '$(NAME)'
	@BACKUP=yes $(setup)
	@$(python) tools/vault.py $(NAME)
	@ansible-playbook ansible/backup.yml $(or_say_why)

.PHONY: backups
backups: ## List the environment's backups
	@tools/environment hosts '$(NAME)'
	@BACKUP=yes $(setup)
	@ansible-playbook ansible/backups.yml $(or_say_why)

.PHONY: restore
restore: ## Make the hosts and bring a backup back on them: SNAPSHOT=latest, or one that make backups lists
	@BACKUP=yes $(setup)
	@$(MAKE) --no-print-directory -j4 $(if $(wildcard $(environment)),hosts) artifacts sample
	@tools/environment hosts '$(NAME)'
	@$(with_knobs) ansible-playbook ansible/restore.yml $${knobs:+-e "$$knobs"} -e 'restore_snapshot=$(SNAPSHOT)' $(or_say_why)

.PHONY: restore-environment
restore-environment: ## Make an environment's lost folder from its backups: REPOSITORY= PASSWORD_FILE=
	@BACKUP=yes $(setup)
	@$(python) tools/backup.py environment '$(NAME)' '$(REPOSITORY)' '$(PASSWORD_FILE)' '$(SNAPSHOT)'

.PHONY: artifacts
artifacts: ## Fetch and verify what is installed: Kafka, Spark, Python packages
	@$(setup)
	@$(python) artifacts/artifacts.py fetch >/dev/null

.PHONY: sample
sample: ## Generate the sample data set, in IMDb's format
	@$(setup)
	@[ -s data/sample/title.ratings.tsv.gz ] || $(python) tools/sample_data.py --out data/sample

##@ Looking

.PHONY: status
status: ## Show hosts, units, topic, queries and tables on one screen (JSON=1 for machines)
	@$(setup)
	@$(python) tools/status.py --environment $(NAME) $(if $(JSON),--json)

.PHONY: alerts
alerts: ## List the alerts that fire, with pipeline_monitoring (JSON=1 for machines)
	@$(setup)
	@$(python) tools/alerts.py --environment $(NAME) $(if $(JSON),--json)

.PHONY: support
support: ## Pack journals, settings, states and metrics of all hosts without secrets (SINCE="6 hours ago")
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@ansible-playbook ansible/support.yml $(if $(SINCE),-e "support_since='$$SINCE'") $(or_say_why)

UNIT ?= imdb-streaming
.PHONY: logs
logs: ## Follow the journal of a unit: make logs UNIT=imdb-producer
	@$(setup)
	@$(python) tools/logs.py --environment $(NAME) $(UNIT)

.PHONY: tunnel
tunnel: ## Put the web UIs on localhost: 8080 master, 8081 worker, 4040 job, 9408 movies and pipeline
	@$(setup)
	@$(python) tools/tunnel.py --environment $(NAME)

.PHONY: client
client: ## Write what a Kafka client on this machine needs: client.properties, client.json
	@tools/environment hosts '$(NAME)'
	@$(setup)
	@ansible-playbook ansible/client.yml $(or_say_why)

##@ Proof

.PHONY: verify
verify: ## Check the running pipeline by testinfra, and its tables row by row (with the knobs given to up)
	@tools/setup
	@$(with_knobs) DEPLOY_ARGS="$${DEPLOY_ARGS-$${knobs:+-e $$(printf %q "$$knobs")}}" \
		$(python) -m pytest tests/roles tests/pipeline -m "verify"

.PHONY: lint
lint: ## Lint everything
	@tools/setup
	@tools/lint

.PHONY: test
test: ## All that proves it, the fast and broad half
	@TARGET=aws TESTS=browser tools/setup
	@TARGET=libvirt tools/setup
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

.PHONY: test-laptop
test-laptop: ## A machine of every day on both Debians: systemd, firewall, VPN, umask; hosts and the pipeline on it
	@tools/setup
	@tools/test-laptop

.PHONY: test-cluster
test-cluster: ## Ten hosts: verified, rolled, grown, and hosts replaced while data flows
	@tools/setup
	@tools/test-cluster cluster

.PHONY: test-all
test-all: ## The slow half too: every fault, both Debians, arm64
	@TESTS=browser tools/setup
	@ARCH=arm64 TESTS=ports tools/setup
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
	@$(setup)
	@$(python) artifacts/artifacts.py lock

.PHONY: help
help: ## Print this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nNAME=local names the environment; TARGET=local|libvirt|aws TOPOLOGY=single|three|cluster ARCH=x86_64|arm64\n'
	@printf 'say what a new one is. DELETE_DATA=host,host lets `make hosts` delete the data of hosts that are to go.\n'
	@printf 'DATASET=sample|imdb or BASICS=path-or-URL RATINGS=path-or-URL; MSGS_PER_SEC PRODUCER_LIMIT RUN_ID\n'
