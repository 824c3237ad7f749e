# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that this file makes lies in build/, which git ignores. `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The system's own interpreter where it will do: the packages that the tests install, such as nbdkit's plugin, belong to it.
ifndef PYTHON
PYTHON := $(shell /usr/bin/python3 tests/tools/environment.py --fits 2>/dev/null && echo /usr/bin/python3 || echo python3)
endif
export PYTHON
PORT ?= 7002
ESTATE ?= sample
KEEP ?=
# Narrow a step down: `make unit ARGS="tests/unit/vault -k chain"`, `make integration ARGS=vm_info`.
ARGS ?=

ifneq ($(words $(CURDIR)),1)
$(error The path of the clone holds a blank, which neither make nor ansible-test can handle: $(CURDIR))
endif

BUILD := $(CURDIR)/build
VENV := $(BUILD)/venv
STAGE := $(BUILD)/stage/ansible_collections/ovm/backup
REQUIREMENTS := requirements.txt tests/requirements.txt tests/unit/requirements.txt tests/integration/requirements.txt
# The collection of AWX's modules, which one role uses.
AWX := $(BUILD)/collections/ansible_collections/awx/awx/MANIFEST.json
READY := $(VENV)/.ready-$(shell (echo $(PYTHON); cat $(REQUIREMENTS)) | cksum | cut -d' ' -f1)

# Ansible insists on a UTF-8 locale; Debian always has this one.
export LC_ALL := C.UTF-8
export PYTHONPYCACHEPREFIX := $(BUILD)/cache/python
export RUFF_CACHE_DIR := $(BUILD)/cache/ruff
export MYPY_CACHE_DIR := $(BUILD)/cache/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(BUILD)/cache/hypothesis
export PYTEST_DEBUG_TEMPROOT := $(BUILD)/tmp
export OVM_BED_DIR := $(BUILD)/bed
export OVM_TEST_IMAGES := $(BUILD)/cache/images
export ANSIBLE_HOME := $(BUILD)/home/.ansible
export ANSIBLE_LOCAL_TEMP := $(BUILD)/home/.ansible/tmp
# A local connection takes ~ for the user's real home directory, whatever HOME says.
export ANSIBLE_REMOTE_TEMP := $(BUILD)/home/.ansible/tmp
export ANSIBLE_ASYNC_DIR := $(BUILD)/home/.ansible_async
export ANSIBLE_NOCOWS := 1
# The deprecations of ansible-core itself are noise in every run; any other warning stays visible.
export ANSIBLE_DEPRECATION_WARNINGS := False

# With these from outside everything would be compiled anew in each process, and each module read byte by byte.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED

# The tools run in a home directory of their own: caches, collections and temporary files stay in build/.
TOOL := HOME=$(BUILD)/home PATH="$(VENV)/bin:$$PATH"
PYTHON_VERSION = $$($(VENV)/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
IN_STAGE = mkdir -p $(BUILD)/home $(BUILD)/tmp && cd $(STAGE) && env $(TOOL) PYTHONPATH=$(BUILD)/stage ANSIBLE_COLLECTIONS_PATH=$(BUILD)/stage

# What `make test` runs, as tests/tools/run_steps.py reads it: `:2` is a step that spreads its tests over both cores, and runs alone.
# The others run two at a time; the long ones stand before the short ones, so that all lanes end together.
STEPS := fmt integration bed-tests lint types docs sanity controller molecule artifact versions unit:2 playbooks:2
STEP_NAMES := $(foreach step,$(STEPS),$(firstword $(subst :, ,$(step))))

.PHONY: bed bed-stop bed-skew bench bench-encryption bench-outage help site screenshots venv system guest-packages s3-packages proxy-packages stage home test demo simulator format clean packages test-matrix release-check $(STEP_NAMES)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# --- what the steps stand on -----------------------------------------------------------------------------------------

venv: $(READY) ## the virtual environment in build/venv

$(READY): $(REQUIREMENTS) tests/tools/environment.py
	@tests/tools/system-packages.sh >&2
	@$(PYTHON) tests/tools/environment.py $(VENV) $@ $(REQUIREMENTS) >&2

system:
	@tests/tools/system-packages.sh >&2

guest-packages:
	@tests/tools/guest-packages.sh >&2

# All that any test needs. Where they cannot be installed, the tests that need them are skipped and say why.
packages: system guest-packages
	@for script in tests/*/packages.sh; do "$$script" >&2 || true; done

s3-packages:
	@tests/s3/packages.sh >&2

proxy-packages:
	@tests/playbooks/packages.sh >&2

stage: ## copy the work tree to build/stage/ansible_collections/ovm/backup
	@$(PYTHON) tests/tools/stage.py $(CURDIR) $(STAGE) >&2

# Only ansible-test sanity builds environments of its own and needs more than an empty home.
home: $(READY)
	@$(VENV)/bin/python tests/tools/home.py $(BUILD)/home >&2

# --- the two commands, and the simulator -----------------------------------------------------------------------------

# Packages are installed before the steps begin, because several at a time would be in each other's way.
test: $(READY) packages stage home ## every check and test below, two at a time
	@MAKE="$(MAKE)" $(VENV)/bin/python tests/tools/run_steps.py --logs $(BUILD)/steps $(STEPS)

demo: $(READY) system stage ## back up, change, back up again and restore against the simulator (KEEP=1 keeps build/demo)
	@mkdir -p $(BUILD)/home $(BUILD)/tmp
	@exec env $(TOOL) KEEP="$(KEEP)" ANSIBLE_COLLECTIONS_PATH=$(BUILD)/stage \
	  $(VENV)/bin/python tests/demo/run.py $(BUILD)/demo

simulator: $(READY) system ## serve a simulated Oracle VM Manager (PORT=7002, 0: any free port; ESTATE=sample)
	@exec env PYTHONPATH=tests $(VENV)/bin/python tests/tools/supervise.py \
	  $(VENV)/bin/python -m simulator --port "$(PORT)" --estate "$(ESTATE)" --images-cache $(BUILD)/cache/images

bed: $(READY) ## build and boot a server with real OCFS2 behind ssh (root); prints one line of JSON that says where, and on stderr how to log in
	@env PYTHONPATH=tests $(VENV)/bin/python -m bed start

bed-stop: $(READY) ## end the server of `make bed`
	@env PYTHONPATH=tests $(VENV)/bin/python -m bed stop

bed-skew: $(READY) ## measure how far the clones of several disks lie apart, on the bed
	@env PYTHONPATH=tests $(VENV)/bin/python -m bed.skew $(ARGS)

# --- the steps of the test -------------------------------------------------------------------------------------------

format: $(READY) ## rewrite the Python files in the house style
	@$(VENV)/bin/ruff check --fix --select I . && $(VENV)/bin/ruff format .

fmt: $(READY) ## check: Python formatting
	@$(VENV)/bin/ruff format --check .

lint: $(READY) stage $(AWX) ## check: ruff, lowest Python, yamllint, ansible-lint
	@failed=0; \
	$(VENV)/bin/ruff check . || failed=1; \
	$(VENV)/bin/vermin --quiet --no-tips --violations --target=3.9- plugins || failed=1; \
	($(IN_STAGE) yamllint --strict .) || failed=1; \
	($(IN_STAGE) ANSIBLE_COLLECTIONS_PATH=$(BUILD)/stage:$(BUILD)/collections ansible-lint --nocolor --offline --profile production) || failed=1; \
	exit $$failed

types: $(READY) stage ## check: types, mypy strict
	@cd $(BUILD)/stage && MYPYPATH=$(BUILD)/stage $(VENV)/bin/mypy \
	  --config-file $(STAGE)/pyproject.toml -p ansible_collections.ovm.backup.plugins
	@MYPYPATH=tests $(VENV)/bin/mypy --config-file pyproject.toml -p simulator
	@MYPYPATH=tests $(VENV)/bin/mypy --config-file pyproject.toml --exclude 'bed/(test_|conftest|hot_clones)' -p bed
	@MYPYPATH=tests $(VENV)/bin/mypy --config-file pyproject.toml -p bootable
	@MYPYPATH=tests $(VENV)/bin/mypy --config-file pyproject.toml tests/tools

unit: $(READY) system guest-packages s3-packages stage ## test: pytest
	@$(IN_STAGE) pytest $(if $(ARGS),$(ARGS),--numprocesses 2 --dist loadfile tests/unit tests/s3)

sanity: $(READY) stage home ## test: ansible-test sanity
	@$(IN_STAGE) ansible-test sanity --color no --python $(PYTHON_VERSION) $(ARGS)

docs: $(READY) site ## check: documentation and changelog, and the site below
	@$(IN_STAGE) antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self --check-extra-docs-refs .
	@$(IN_STAGE) antsibull-changelog lint

site: $(READY) stage ## render the documentation site to build/site
	@$(IN_STAGE) env PYTHONPATH=$(CURDIR)/tests python $(CURDIR)/tests/tools/render_site.py --build $(BUILD)

screenshots: $(READY) system stage ## make the pictures of the documentation again, from a real run of the demonstration
	@mkdir -p $(BUILD)/home $(BUILD)/tmp
	@exec env $(TOOL) ANSIBLE_COLLECTIONS_PATH=$(BUILD)/stage $(VENV)/bin/python tests/tools/screenshots.py --build $(BUILD)

integration: $(READY) system guest-packages stage ## test: integration targets against the simulator
	@$(IN_STAGE) env PYTHONPATH=$(BUILD)/stage:$(CURDIR)/tests python $(CURDIR)/tests/tools/integration.py --build $(BUILD) --python $(PYTHON_VERSION) $(ARGS)

playbooks: $(READY) system guest-packages s3-packages proxy-packages stage ## test: the playbooks end to end, with everything that can go wrong
	@$(IN_STAGE) pytest $(if $(ARGS),$(ARGS),--numprocesses 2 --dist loadfile tests/playbooks)

$(AWX): tests/tools/awx_collection.py $(READY)
	@$(VENV)/bin/python tests/tools/awx_collection.py $(BUILD)/collections >&2
	@touch $@

controller: $(READY) system stage $(AWX) ## test: the role that sets AWX up, against a stand-in for AWX
	@$(IN_STAGE) OVM_TEST_COLLECTIONS=$(BUILD)/collections pytest $(if $(ARGS),$(ARGS),tests/controller)

molecule: $(READY) system stage ## test: the molecule scenario, converged twice and verified by restoring
	@$(IN_STAGE) python $(CURDIR)/tests/tools/molecule.py --build $(BUILD)

bed-tests: $(READY) system stage ## test: against a server with real OCFS2 behind ssh; skipped with a reason without root
	@$(IN_STAGE) pytest $(if $(ARGS),$(ARGS),-rs tests/bed)

artifact: $(READY) system stage $(AWX) ## test: install the built collection elsewhere, back up and restore with it
	@rm -rf $(BUILD)/artifact && mkdir -p $(BUILD)/artifact
	@$(IN_STAGE) ansible-galaxy collection build --output-path $(BUILD)/artifact --force
	@env $(TOOL) tests/tools/check_artifact.sh $(BUILD)/artifact $(BUILD)/collections
	@env $(TOOL) PYTHONPATH=tests $(VENV)/bin/python tests/tools/artifact_run.py $(BUILD)/artifact
	@$(IN_STAGE) python $(CURDIR)/tests/tools/release_check.py --stage $(STAGE) --work $(BUILD)/release --quick

release-check: $(READY) stage ## test: rehearse a release in a copy: changelog, artifact, galaxy-importer
	@$(IN_STAGE) python $(CURDIR)/tests/tools/release_check.py --stage $(STAGE) --work $(BUILD)/release

versions: $(READY) system ## test: the lowest Python and the lowest ansible-core, one thing of each kind
	@PYTHONPATH=tests $(VENV)/bin/python tests/tools/matrix.py --build $(BUILD) --fast

test-matrix: $(READY) system guest-packages ## test: unit, sanity and integration on each ansible-core, modules on each Python (ARGS=core-2.16/unit: one cell)
	@PYTHONPATH=tests $(VENV)/bin/python tests/tools/matrix.py --build $(BUILD) $(ARGS)

bench: $(READY) system stage ## measure the engine against other tools, and how its cost grows (takes an hour; ARGS=--quick: minutes)
	@mkdir -p $(BUILD)/home
	@exec env $(TOOL) PYTHONPATH=tests OVM_BENCH_STAGE=$(BUILD)/stage $(VENV)/bin/python -m bench --build $(BUILD) $(ARGS)

bench-outage: $(READY) system stage ## measure the outage of a VM on NFS with one pass and with two (takes minutes)
	@$(IN_STAGE) python tests/bench/outage.py $(BUILD)/bench-outage $(ARGS)

bench-encryption: $(READY) stage ## measure what encryption costs beside a plain vault
	@$(IN_STAGE) python tests/bench/encryption.py

clean: ## remove everything that was made
	rm -rf build .ansible collections tests/output
