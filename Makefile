# Every target runs in .venv. The first target that needs .venv creates it, with the exact versions of requirements.lock.
# --no-compile: of 15,000 files of the packages a quarter is ever imported, and compiled then; compiling all takes a minute.
PYTHON ?= python3
RUN := .venv/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
STAMP := .venv/.installed
RUNNER ?= pytest
# container images often set it; every process that imports torch would compile 4,000 modules again: 14 seconds instead of 6
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install triton reproduce test test-slow coverage mutation gate bench bench-gpu lint types format sample published lock doctor docs clean

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

install: $(STAMP) ## create .venv with the locked versions
$(STAMP): requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.11 ...")'
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements-cpu.lock 2>/dev/null || $(PIP) --require-hashes -r requirements-cuda.lock # torch for CPUs where pip finds it
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-build-isolation -e .
	touch $@

triton: $(STAMP) ## install Triton where torch did not bring it (no GPU), so that the tests of the fused kernels run, in its interpreter
	mkdir -p build && sed -n '/^triton==/,/[^\\]$$/p' requirements-cuda.lock >build/triton.lock
	$(PIP) --require-hashes -r build/triton.lock

reproduce: $(STAMP) ## rebuild the published table, check the installation on the sample, run what this device can run (ARGS="model.path=DIR data=local data.root=DIR")
	$(RUN) -m harness reproduce $(ARGS)

test: $(STAMP)   ## run the tests that this machine can run, except the slow ones (ARGS="tests/test_runner.py -k resumed")
	$(RUN) -m $(RUNNER) $(ARGS)

test-slow: $(STAMP) ## run the slow tests: small benchmarks, mteb 2 in its own environment, the gate's power, other launchers
	$(RUN) -m pytest -m slow $(ARGS)

coverage: $(STAMP) ## run the tests of `make test` and print the share of harness/ that they run (ARGS as for test; data file: .coverage)
	$(RUN) -m coverage erase
	$(MAKE) test RUNNER="coverage run -m pytest"
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report --skip-covered --sort=cover

mutation: $(STAMP) ## see whether the tests notice changed code in the modules that decide verdicts (hours; ARGS="read/leaderboard.py")
	$(PIP) --target build/mutmut mutmut==3.8.1 libcst setproctitle click textual platformdirs mdit_py_plugins linkify_it_py uc_micro_py
	MUTMUT=$(CURDIR)/build/mutmut $(RUN) scripts/mutate.py $(ARGS)

gate: $(STAMP)   ## run the embedded sample and check it against its baseline (results/baselines); fails on score drift
	rm -rf build/gate && mkdir -p build
	CUDA_VISIBLE_DEVICES= $(RUN) -m harness run model=sample data=sample gpu=cpu store=null results_dir=build/gate --quiet >build/gate.log || { cat build/gate.log; false; }
	$(RUN) -m harness check results/baselines/sample build/gate/sample --junit build/gate/junit.xml

bench: $(STAMP)  ## measure speed and memory, the figures of docs/performance.md (about an hour; one by one: benchmarks/*.py --help)
	set -e; for name in tokens purity retrieval sweep t2retrieval whole_run full_size gpu attention power devices distances causal probe on_gpu; do echo "== $$name"; $(RUN) benchmarks/$$name.py; done

bench-gpu: $(STAMP) ## measure what needs a GPU, in one go: bits, speed, self-check (under 10 minutes on an H100)
	$(RUN) benchmarks/on_gpu.py $(ARGS)

lint: $(STAMP)   ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(STAMP)  ## check types (strict)
	$(RUN) -m mypy

format: $(STAMP) ## fix style and format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

doctor: $(STAMP) ## show what this machine has and what `make reproduce` would do
	$(RUN) -m harness doctor

docs:            ## build the documentation as a site with search: build/site (mkdocs, in an environment of its own)
	test -x build/docs/bin/mkdocs || $(PYTHON) -m venv build/docs
	build/docs/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])' >build/docs/asked
	build/docs/bin/python -m pip install --quiet --disable-pip-version-check -r build/docs/asked
	rm -rf build/pages && mkdir build/pages && tar -cf - *.md docs results/README.md results/published tests/README.md configs/config.yaml | tar -xf - -C build/pages
	build/docs/bin/mkdocs build --quiet --strict -f docs/mkdocs.yml
	@echo 'python -m http.server -d build/site'

sample: $(STAMP) ## regenerate the embedded sample (harness/sample)
	$(RUN) scripts/make_sample.py

published: $(STAMP) ## regenerate results/published from the model card: make published CARD=FILE
	$(RUN) scripts/publish_card.py $(CARD) -o results/published/acge_text_embedding

lock:            ## write requirements*.lock anew from pyproject.toml (ARGS="--upgrade-package rich")
	$(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	build/lock/bin/python scripts/lock.py $(ARGS)

clean:           ## remove .venv and caches, never results
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist
