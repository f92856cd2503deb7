# make demo: set up, and play a generated cloud. make check: lint and docs. make test: set up, and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NOVA_VENV ?= .venv-nova
OUT ?= out/demo
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# More than the two processors of CI: the tests of real servers wait more than they compute. The tests of a file stay together.
TEST_JOBS ?= 4
# The tests start many processes, and none of them should compile all modules again.
export PYTHONDONTWRITEBYTECODE :=
# The interpreter that has the real nova and Placement, with which tests/against_nova compares.
export NOVA_SCHED_PEER_PYTHON ?= $(CURDIR)/$(NOVA_VENV)/bin/python

.PHONY: demo check docs man test test-fast test-long test-nova test-functional test-placement test-clients fuzz bench \
    reference setup nova-setup clients-setup test-setup system-packages clean \
    cloud cloud-down test-cloud package

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --editable '.[redis,plot,test,check]'
	touch $@

# The real nova and Placement, and this project beside them.
nova-setup: $(NOVA_VENV)/.installed

$(NOVA_VENV)/.nova:
	$(PYTHON) -m venv $(NOVA_VENV)
	$(NOVA_VENV)/bin/python $(PIP_INSTALL) nova==34.0.0 openstack-placement==16.0.0 \
	    gabbi wsgi-intercept oslotest ddt
	touch $@

$(NOVA_VENV)/.installed: $(NOVA_VENV)/.nova $(VENV)/.installed
	$(NOVA_VENV)/bin/python $(PIP_INSTALL) --editable .
	touch $@

# Clients of Placement, and python-openstackclient with our plugin, each in an environment of its own.
CLIENTS ?= .venv-clients
export NOVA_SCHED_CLIENTS ?= $(CURDIR)/$(CLIENTS)
CLIENT_osc := osc-placement==4.9.1 python-openstackclient==10.5.0
CLIENT_neutron-lib := neutron-lib==5.0.1 requests
CLIENT_blazar := blazar==18.0.0
# It imports novaclient, which it does not name.
CLIENT_cyborg := openstack-cyborg==17.0.0 python-novaclient
# Our own commands in python-openstackclient.
CLIENT_plugin := python-openstackclient==10.5.0 --editable '.[osc]'

clients-setup: $(patsubst %,$(CLIENTS)/%/.installed,osc neutron-lib blazar cyborg plugin)

$(CLIENTS)/%/.installed:
	$(PYTHON) -m venv $(CLIENTS)/$*
	$(CLIENTS)/$*/bin/python $(PIP_INSTALL) $(CLIENT_$*)
	touch $@

# What needs seconds: the form of the code, its types, and documents that build without a warning.
check: setup
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/html

# A manual page for each program, from its own parser: build/man/*.1.
man: setup
	$(BIN)/python -W ignore docs/reference/man_pages.py build/man

demo: setup
	rm -rf $(OUT)
	$(BIN)/nova-sched play --generate 120,600 --fail 0.05 --schedulers 2 --out $(OUT)

# Servers that the tests start for themselves; what is missing is installed where apt is there.
system-packages:
	@sh tests/install-bindep.sh

# Both environments side by side. Without nova's, the tests that compare with it are skipped; with CI set they fail.
test-setup: system-packages
	@$(MAKE) --no-print-directory --keep-going --jobs 2 setup nova-setup || $(MAKE) --no-print-directory setup

test: test-setup
	$(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

# The packages that need no server, no log and no clock, alone.
test-fast: setup
	$(BIN)/python -m pytest -q -m 'not long and not rabbit and not redis_server and not nova' --numprocesses 2 \
	    tests/test_layers.py tests/rpc_api/events tests/rpc_api/objects tests/nova_sched/projection \
	    tests/nova_sched/request tests/nova_sched/fit tests/nova_sched/filters tests/nova_sched/weighers \
	    tests/nova_sched/selection

# What is compared with the real nova and Placement, alone.
test-nova: setup nova-setup
	$(BIN)/python -m pytest -m 'nova and not long' tests/against_nova

# Nova's own functional tests with our services (GROUPS: some of them), or with Nova's own (STOCK=1).
GROUPS ?=
test-functional: setup nova-setup
	$(BIN)/python -m tests.against_nova.functional.table $(if $(STOCK),--stock) $(GROUPS)

# Placement's own tests of its API, and the API beside the real Placement, alone.
test-placement: setup nova-setup
	$(BIN)/python -m pytest -m 'not long' tests/placement_api tests/against_nova/test_placement_*.py
	$(BIN)/python -m pytest -m long tests/against_nova/test_placement_objects.py

# Clients of Placement that users have, against our API, alone.
test-clients: setup nova-setup clients-setup
	$(BIN)/python -m pytest -m clients tests/clients

# atheris has wheels for some versions of Python only: where it has none, its tests say so.
$(VENV)/.atheris: $(VENV)/.installed
	-$(BIN)/python $(PIP_INSTALL) --only-binary :all: --editable '.[fuzz]'
	touch $@

# Hostile inputs guided by coverage, for FUZZ_SECONDS; what is found is left in out/fuzz.
FUZZ_SECONDS ?= 600
fuzz: setup $(VENV)/.atheris
	mkdir -p out/fuzz/corpus
	$(BIN)/python -W ignore -m tests.fuzz.coverage -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=out/fuzz/ out/fuzz/corpus

test-long: test-setup clients-setup $(VENV)/.atheris
	@sh tests/install-bindep.sh test package install
	$(BIN)/python -m pytest -m 'long or not long'

# docs/reference, the type stubs of the events and the sample configuration from the code; a test says when that is due.
reference: setup
	$(BIN)/python -W ignore -m rpc_api.stubs
	$(BIN)/python docs/reference/generate.py
	$(BIN)/oslo-config-generator --config-file etc/nova_sched/config-generator.conf

# A real OpenStack with nova_sched on this machine (tests/cloud/README.md). STOCK=1: with nova-scheduler and Placement.
export CLOUD_DIR ?= $(CURDIR)/out/cloud
export STOCK
cloud: setup
	tests/cloud/up.sh $(if $(wildcard $(CLOUD_DIR)/venv/bin/nova-compute),,--install)

cloud-down:
	tests/cloud/down.sh $(if $(WIPE),--wipe)

test-cloud: setup
	tests/cloud/test_cloud.sh

# Wheel, sdist and Debian package into dist. The package needs dpkg-dev, debhelper and python3-venv.
package: setup
	@sh tests/install-bindep.sh package
	$(BIN)/python $(PIP_INSTALL) --editable '.[package]'
	PYTHON=$(CURDIR)/$(BIN)/python packaging/build.sh

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) $(NOVA_VENV) $(CLIENTS) out build *.egg-info .pytest_cache .hypothesis .mypy_cache
