# Two commands do all the set-up: `make demo` and `make test`. They need Python 3.11 or newer, and make.
PYTHON ?= python3
BINDER_PYTHON ?= python3.12
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
CODE := fusion_nb tests notebooks benchmarks
# Kernels that deliver a widget's clicks each in their own way; the panel's Stop is tested with all of them.
KERNELS := $(addprefix build/ipykernel-,6.31.0 7.1.0 7.3.0 7.4.0)

# Tests start hundreds of processes: each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

# tests/markers.py sets these markers, and imports no file that has nothing else.
QUICK := -m "not slow and not integration and not framework and not sweep"

# The tests of Keras in which its backend matters most; make test-all runs all of them on both.
KERAS_ON_TORCH := $(patsubst %,tests/models/keras_adapter/test_keras_%.py,copies gradients training weights)

# The tutorials that a stranger opens first, and the one of the service. The others have long
# trainings; make notebooks, make test-all and a job of the workflow run all.
FIRST_TUTORIALS := $(wildcard notebooks/01_*.ipynb notebooks/02_*.ipynb notebooks/03_*.ipynb notebooks/07_*.ipynb)
# The cluster of 11 takes long to start: notebooks-alone runs it.
TUTORIALS := $(filter-out notebooks/11_%,$(wildcard notebooks/*.ipynb))

# Processes with a thread each; two take half as long as one with two threads.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/pytest --dist loadfile --no-loadscope-reorder -n 2

.PHONY: demo quick test keras-on-torch test-all test-browser screenshots lint notebooks notebooks-alone docs bench soak papers binder lab clean

demo: $(VENV)/demo  ## run the quickstart on the shipped data
	$(BIN)/python notebooks/run_demo.py

quick: $(VENV)/test  ## no processes, browsers, servers, frameworks but PyTorch, and sweeps: under a minute
	$(SIDE_BY_SIDE) $(QUICK)

# One process checks most of the types, so one with tests of Keras runs beside it. Then a third process trains
# while others wait for servers, kernels and browsers.
test: $(VENV)/test  ## lint, types, tests, the first tutorials: under seven minutes on two cores
	$(MAKE) --jobs 2 lint keras-on-torch notebooks TUTORIALS="$(FIRST_TUTORIALS)"
	$(SIDE_BY_SIDE) -n 3

keras-on-torch: $(VENV)/test
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/pytest $(KERAS_ON_TORCH)

test-all: $(VENV)/test $(VENV)/bench $(KERNELS)  ## everything, the long tests and all tutorials too
	$(SIDE_BY_SIDE) -m ""
	KERAS_BACKEND=torch $(SIDE_BY_SIDE) -m "" tests/models/keras_adapter
	$(MAKE) notebooks notebooks-alone
	if command -v $(BINDER_PYTHON); then $(MAKE) binder; else echo 'not as on Binder: there is no $(BINDER_PYTHON)'; fi

test-browser: $(VENV)/test  ## only what drives JupyterLab in Chromium
	$(BIN)/pytest -m browser tests

lint: $(VENV)/test
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy --num-workers 2

notebooks: $(VENV)/test  ## run all tutorials but the cluster's, and compare what they print
	rm -rf build/notebooks && mkdir -p build/notebooks && cp $(TUTORIALS) build/notebooks
	$(SIDE_BY_SIDE) -p nbval.plugin --nbval-lax --nbval-cell-timeout=120 --nbval-sanitize-with tests/nbval.cfg build/notebooks

notebooks-alone: $(VENV)/test  ## run all tutorials as nbconvert does
	mkdir -p build/notebooks/executed && cp notebooks/*.ipynb build/notebooks
	$(BIN)/jupyter nbconvert --log-level=WARN --execute --to notebook --output-dir build/notebooks/executed build/notebooks/*.ipynb

docs: $(VENV)/docs  ## the API reference from the docstrings, in build/docs
	rm -rf build/docs
	$(BIN)/python tests/api_reference.py build/docs

bench: $(VENV)/test $(VENV)/bench  ## speed beside its peers: a table, benchmarks/results.json and a plot; needs mnist.npz, and half an hour
	$(BIN)/python -m benchmarks.speed

soak: $(VENV)/test  ## what a kernel holds over 500 runs and 5,000 rounds: numbers, and build/soak.png
	$(BIN)/python -m benchmarks.soak

papers: $(VENV)/test  ## published figures beside ours, on MNIST: runs what changed (all of it: hours)
	$(BIN)/python -m benchmarks.papers

screenshots: $(VENV)/test  ## take the pictures of README and tutorials anew
	FUSION_NB_IMAGES=notebooks/images $(BIN)/pytest -m browser tests

binder: $(VENV)/test build/binder  ## run all tutorials as on Binder: its packages, one core, 2 GB; needs Python 3.12
	$(BIN)/pytest -m "" tests/test_binder.py

lab: $(VENV)/demo  ## open the tutorials
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf $(VENV) build

$(KERNELS): build/ipykernel-%:
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ ipykernel==$* nest-asyncio

# The environment as Binder makes it: its own packages, then those of binder/, then postBuild.
build/binder: binder/requirements.txt binder/postBuild pyproject.toml constraints.txt
	rm -rf $@ && $(BINDER_PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check -r binder/requirements.txt jupyterhub jupyterlab notebook
	PATH=$(CURDIR)/$@/bin:$$PATH bash binder/postBuild

# Each mark is made once its packages are in, and anew when what they depend on changes.
$(VENV)/demo: pyproject.toml constraints.txt
	test -x $(BIN)/pip || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(PIP) -e ".[torch]"
	touch $@

$(VENV)/test: $(VENV)/demo
	$(PIP) -e ".[all,dev]"
	touch $@

$(VENV)/docs: $(VENV)/demo
	$(PIP) -e ".[all,docs]"
	touch $@

$(VENV)/bench: $(VENV)/demo
	$(PIP) -e ".[bench]"
	touch $@
