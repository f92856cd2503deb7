# make demo: set up, and play a generated cloud. make test: set up, and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out/demo

.PHONY: demo test test-long fuzz bench setup system-packages clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[redis,plot,test]'
	touch $@

demo: setup
	rm -rf $(OUT)
	$(BIN)/nova-sched play --generate 120,600 --fail 0.05 --schedulers 2 --out $(OUT)

# Servers that the tests start for themselves; what is missing is installed where apt is there.
system-packages:
	@sh tests/install-bindep.sh

test: setup system-packages
	$(BIN)/python -m pytest

# atheris has wheels for some versions of Python only: where it has none, its tests say so.
$(VENV)/.atheris: $(VENV)/.installed
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --editable '.[fuzz]'
	touch $@

# Hostile inputs guided by coverage, for FUZZ_SECONDS; what is found is left in out/fuzz.
FUZZ_SECONDS ?= 600
fuzz: setup $(VENV)/.atheris
	mkdir -p out/fuzz/corpus
	$(BIN)/python -W ignore -m tests.fuzz.coverage -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=out/fuzz/ out/fuzz/corpus

test-long: setup system-packages $(VENV)/.atheris
	$(BIN)/python -m pytest -m 'long or not long'

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .hypothesis
