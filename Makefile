# make demo: set up, and play a generated cloud. make test: set up, and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out/demo

.PHONY: demo test test-long bench setup system-packages clean

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

test-long: setup system-packages
	$(BIN)/python -m pytest -m 'long or not long'

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .hypothesis
