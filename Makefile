# Each target does its own set-up in .venv. Needs Python 3.11+, make and a package index.
#   make compare          does mixing help on your data? (DATA=folder, ARGS="--seeds 5")
#   make quick            the core in NumPy: seconds, for while you work
#   make test             the library with NumPy, PyTorch and JAX, the command line, the docs
#   make test-hosts       TensorFlow, Keras and every other host, for real
#   make test-gpu         the kernel for GPUs, in Triton's interpreter
#   make ... TORCH=cpu    accept a CPU build of PyTorch only

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt
ifeq ($(TORCH),cpu)
INSTALL += -c constraints-cpu.txt
endif
PIP = $(BIN)/python $(INSTALL)
SETUP = pyproject.toml constraints.txt $(VENV)/created
# make bench takes ARGS too, such as ARGS=--quick; a part of it is printed, not written
DATA ?= digits
ARGS ?=

.PHONY: compare quick test test-hosts test-gpu check format types coverage fuzz mutate sanitize bench bench-front-door docs figures golden \
constraints hashes matrix wheels release sbom verified clean

compare: $(VENV)/cli
	$(BIN)/batchmix compare $(DATA) $(ARGS)

# the core in NumPy alone, in one process: no command line, no docs, no explorer
QUICK = $(addprefix tests/test_,architecture.py equality.py hints.py inplace.py labels.py mix.py mixer.py plan.py stack.py)
quick: $(VENV)/test
	OMP_NUM_THREADS=1 BATCHMIX_TEST_BACKENDS=numpy $(BIN)/python -m pytest -x $(QUICK)

# what is true of every framework; each framework has a process of its own
CONTRACT = $(addprefix tests/test_,equality.py mix.py labels.py label_rules.py targets.py padding.py segmentation.py losses_metrics.py stack.py mixer.py inplace.py boxes.py detection.py masks.py layers.py hints.py)
test: check types
	$(BIN)/python -m pytest -n auto
	BATCHMIX_TEST_BACKENDS=jax $(BIN)/python -m pytest -n auto \
	$(CONTRACT) tests/jax src/batchmix/adapters/jax.py

# each file in a process of its own, two at a time; hosts that cannot live with the others have an
# environment of their own
HOSTS = HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0 .venv-hosts/bin/python -m pytest
HOST_FILES = $(wildcard tests/hosts/test_*.py) \
$(filter-out %/datarax.py %/composer.py %/composer_functional.py,$(wildcard src/batchmix/adapters/[a-z]*.py))
test-hosts: .venv-hosts/installed .venv-datarax/installed .venv-bench/installed
	BATCHMIX_TEST_BACKENDS=tensorflow $(HOSTS) -n auto $(CONTRACT)
	printf '%s\n' $(HOST_FILES) | xargs -P 2 -I FILE sh -c '$(HOSTS) FILE || { echo FAILED: FILE; exit 1; }'
	KERAS_BACKEND=jax $(HOSTS) tests/hosts/test_keras.py
	KERAS_BACKEND=torch $(HOSTS) tests/hosts/test_keras.py
	$(HOSTS) tests/explore tests/explore/browser
	.venv-datarax/bin/python -m pytest tests/datarax
	.venv-bench/bin/python -m pytest tests/composer

# the kernel for GPUs: interpreted where there is none, each case of the contract or a part of them
GPU = BATCHMIX_KERNEL=triton TRITON_INTERPRET=1 OMP_NUM_THREADS=1 BATCHMIX_TEST_BACKENDS=torch
test-gpu: .venv-gpu/installed
	$(GPU) .venv-gpu/bin/python -m pytest -n auto $(filter-out %losses_metrics.py,$(CONTRACT)) tests/gpu/test_*.py

check: $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror native/*.cpp native/*.h

# what make check asks for
format: $(VENV)/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i native/*.cpp native/*.h

types: $(VENV)/test
	$(BIN)/mypy

# which lines of the core no test runs, in NumPy and PyTorch: minutes. Fewer than pyproject.toml says
# is an error
COVERED = $(filter-out %test_docs.py %test_machines.py %_page.py,$(wildcard tests/test_*.py)) \
tests/policies tests/pairings
coverage: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov --cov-report=term-missing $(COVERED)

# what reads text and files, guided by coverage: make fuzz SECONDS=600 TARGETS="plans sounds" explores;
# make fuzz SEED=1 tries the same inputs each time, RUNS=5000 of each target or as many as run.py says
SECONDS ?= 60
SEED ?=
RUNS ?=
TARGETS ?=
fuzz: $(VENV)/test
	$(PIP) atheris==3.0.0
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(addprefix --seed ,$(SEED)) $(addprefix --runs ,$(RUNS)) $(TARGETS)

# the core with one thing changed at a time: an hour; make mutate ARGS="'batchmix._draw.*'" for a part.
# In the copy the two decorators that change no result are dropped: decorated functions are left out
MUTATED = build/mutate
mutate: $(VENV)/test
	$(PIP) mutmut==3.8.1
	mkdir -p $(MUTATED)
	cp -r src tests pyproject.toml $(MUTATED)
	cd $(MUTATED)/src/batchmix && sed -i '/^@called_as_is$$/d; /^@functools.lru_cache(64)$$/d' \
	_draw.py _mix.py _labels.py policies/_paste.py
	cd $(MUTATED) && OMP_NUM_THREADS=1 BATCHMIX_TEST_BACKENDS=numpy ../../$(BIN)/mutmut run $(ARGS)
	cd $(MUTATED) && ../../$(BIN)/mutmut results

# the kernel under AddressSanitizer and UndefinedBehaviorSanitizer, on everything that reaches it,
# and its threads under ThreadSanitizer
SANITIZED = build/sanitized
sanitized = BATCHMIX_CXXFLAGS="$(2) -O1 -g1" $(BIN)/python setup.py -q build \
--build-base $(SANITIZED)-temp/$(1) --build-lib $(SANITIZED)/$(1) \
&& test -f $(SANITIZED)/$(1)/batchmix/backends/_kernel.abi3.so
sanitize: $(VENV)/test
	$(call sanitized,address,-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all)
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(SANITIZED)/address BATCHMIX_TEST_BACKENDS=numpy \
	$(BIN)/python -m pytest tests/test_mix.py tests/test_kernel.py tests/test_stack.py \
	-n auto -k "not torch and not compiler"
	$(call sanitized,thread,-fsanitize=thread)
	LD_PRELOAD="$$(g++ -print-file-name=libtsan.so)" PYTHONPATH=$(SANITIZED)/thread \
	$(BIN)/python -m pytest tests/test_kernel.py -k any_memory

# beside every library that can be installed; they live in an environment of their own
bench: .venv-bench/installed .venv-datarax/installed
	.venv-bench/bin/python benchmarks/run.py --datarax .venv-datarax/bin/python $(ARGS)
	.venv-bench/bin/python docs/speed_table.py

# Mixer and the drop-ins alone, beside timm and torchvision: a minute, in the environment of the tests
bench-front-door: $(VENV)/test
	$(BIN)/python benchmarks/run.py --only front-door $(ARGS)

.venv-bench/installed: pyproject.toml constraints.txt benchmarks/composer.txt tests/torchvision_cpu.py
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(INSTALL) -e '.[cli,bench]' pytest
	.venv-bench/bin/python -m pip install --quiet --no-deps -r benchmarks/composer.txt
	.venv-bench/bin/python tests/torchvision_cpu.py
	@touch $@

.venv-gpu/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python $(INSTALL) -e '.[test-gpu]'
	@touch $@

.venv-hosts/installed: pyproject.toml constraints.txt tests/torchvision_cpu.py
	$(PYTHON) -m venv .venv-hosts
	.venv-hosts/bin/python $(INSTALL) -e '.[cli,hosts]'
	.venv-hosts/bin/python tests/torchvision_cpu.py
	@touch $@

.venv-datarax/installed: pyproject.toml tests/datarax/constraints.txt
	$(PYTHON) -m venv .venv-datarax
	.venv-datarax/bin/python -m pip install --quiet --disable-pip-version-check \
	-c tests/datarax/constraints.txt -e '.[datarax]' matplotlib pillow pytest scikit-learn torch typer
	@touch $@

docs: $(VENV)/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# the site of one version beside those of others, on the branch gh-pages; nothing is pushed
.PHONY: docs-version
docs-version: $(VENV)/test
	@test -n "$(VERSION)" || { echo "Which? make docs-version VERSION=0.1" >&2; exit 2; }
	PATH="$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mike deploy --update-aliases $(VERSION) latest
	$(BIN)/mike set-default latest

figures: $(VENV)/test
	$(BIN)/python docs/make_figures.py
	$(BIN)/python docs/make_guide_figures.py
	$(BIN)/python docs/speed_figures.py
	$(BIN)/python docs/command_pictures.py
	$(BIN)/python docs/make_tutorials.py
	$(BIN)/python docs/peers.py
	$(BIN)/python docs/compare_tables.py
	$(BIN)/python docs/evidence_tables.py
	$(BIN)/python docs/tables_page.py

# digests of what every policy and pairing draws: added to, never changed
golden: $(VENV)/test
	cd tests && ../$(BIN)/python -c "import json, test_policies as t; \
	t.GOLDEN.write_text(json.dumps(t.digests(), indent=1) + '\n')"

# what is installed now, as the new constraints
constraints: $(VENV)/test .venv-hosts/installed .venv-bench/installed
	head -n 2 constraints.txt > constraints.new
	for venv in $(VENV) .venv-hosts .venv-bench; do $$venv/bin/python -m pip freeze --exclude-editable; done \
	| grep -vi -e '^batchmix' -f benchmarks/composer.txt | sed 's/+cpu$$//' | sort -fu >> constraints.new
	mv constraints.new constraints.txt

# the core tests on the oldest and newest versions that can be installed: the table of a docs page
matrix: .venv-tools/installed
	$(TOOLS)/python tests/matrix.py $(ARGS)

# sdist and wheel as a release would have them, tried in an empty environment; CROSS="aarch64-gnu
# aarch64-musl x86_64-musl" builds those too
wheels: .venv-tools/installed
	$(TOOLS)/python tests/wheels.py
	for target in $(CROSS); do $(TOOLS)/python tests/wheels.py $$target || exit 1; done

# a version of a clean checkout: changelog, version, speed of it, sdist and wheel, a tag. Nothing is sent
# anywhere: it ends with the commands that would
release: .venv-tools/installed $(VENV)/test
	$(BIN)/python tests/release.py "$(VERSION)" $(TOOLS)/python

# what the environments hold, as CycloneDX and as a table of licences, into build/; a licence that does
# not fit Apache-2.0 is refused. EXEMPT: AGPL, of an adapter's tests: nobody who uses batchmix gets it;
# namex states its licence (Apache-2.0) in a file only. .venv-bench is out: Composer's parts state none
FIT = Apache;BSD;CNRI-Python;ISC;MIT;MPL;Mozilla;PSF;Python Software Foundation
EXEMPT = batchmix namex ultralytics ultralytics-platform ultralytics-thop
HELD = $(wildcard $(VENV) .venv-hosts .venv-datarax)
sbom: .venv-tools/installed $(VENV)/test
	mkdir -p build
	set -e; for venv in $(HELD); do \
	$(TOOLS)/cyclonedx-py environment --no-validate --of JSON -o build/sbom-$$venv.json $$venv/bin/python; \
	$(TOOLS)/pip-licenses --python=$$venv/bin/python --from=mixed --partial-match --allow-only='$(FIT)' \
	--ignore-packages $(EXEMPT) --format=markdown --output-file=build/licences-$$venv.md; done

# the command line's environment from files whose hashes are pinned. PyTorch is not among them: its CPU
# and CUDA builds are different files of one version
verified: requirements-cli.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes --no-deps -r requirements-cli.txt
	$(PIP) -e '.[cli]'

# anew after constraints.txt or the tools changed; for the Python and the system that they were made on
HASHES = $(TOOLS)/uv pip compile --quiet --generate-hashes --no-annotate --no-header pyproject.toml
hashes: .venv-tools/installed
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(HASHES) --extra cli -c constraints.txt -c constraints-cpu.txt \
	--no-emit-package torch -o requirements-cli.txt
	$(HASHES) --universal --group tools -o requirements-tools.txt

TOOLS = .venv-tools/bin
.venv-tools/installed: requirements-tools.txt
	$(PYTHON) -m venv .venv-tools
	$(TOOLS)/python -m pip install --quiet --require-hashes --no-deps -r requirements-tools.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-tools .venv-hosts .venv-datarax .venv-bench site .mypy_cache .pytest_cache .ruff_cache

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchmix needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/cli: $(SETUP)
	@echo "Setting up $(VENV) (once, a few minutes) ..."
	$(PIP) -e '.[cli]'
	@touch $@

# torchvision_cpu.py: torchvision's wheel needs CUDA to be imported; the tests compare with it without
# cli has installed batchmix itself
$(VENV)/test: $(VENV)/cli tests/torchvision_cpu.py
	$(PIP) 'batchmix[timm,docs,test]'
	$(BIN)/python tests/torchvision_cpu.py
	@touch $@
