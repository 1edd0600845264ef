# Everything runs inside .venv, which `make install` creates from pyproject.toml.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Touched last, so that it exists only after an installation that succeeded.
STAMP := $(VENV)/.installed
# Jupyter refuses to run as root unless told to, and containers usually are root.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help install lab test check demo bench trial compare cifar notebooks page lessons student slides site clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "Add flags with ARGS, as in: make test ARGS='-k influence'"

install: $(STAMP) ## Create .venv with everything in it

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[dev]"
	@# Without this JupyterLab opens with a question about fetching news.
	$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements
	@# Without this the answer to a slider waits up to 40 ms on its way to the page.
	cp tools/jupyter_server_config.py $(VENV)/etc/jupyter/
	@touch $@

lab: $(STAMP) ## Open JupyterLab on the first notebook
	@# As the default page, so that the address printed for a remote browser leads there too.
	$(BIN)/jupyter lab $(ROOT) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

test: $(STAMP) ## Run all tests, which is the whole truth
	@# One thread each: more processes than cores, or threads, would wait for each other.
	@# The browser's by themselves, for what a browser is asked has to come within seconds.
	@# 5 says that ARGS leave no test of these; if they leave none at all, that is an error.
	@status=0; OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser" -n 2 --dist worksteal $(ARGS) || status=$$?; \
	[ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; \
	$(BIN)/python -m pytest -m browser $(ARGS) || { [ $$? -eq 5 ] && [ $$status -eq 0 ]; }

check: $(STAMP) ## Run the quick tests, in two minutes: no browser, no notebooks, contracts on three tasks, few cases of each test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not (browser or slow or full)" -n 2 --dist worksteal $(ARGS)

demo: $(STAMP) ## Unlearn a class without a browser: a table and an HTML report
	$(BIN)/python -m imu_lab $(ARGS)

bench: $(STAMP) ## Measure speed and memory
	$(BIN)/python -m benchmarks $(ARGS)

trial: $(STAMP) ## Try whether influence pays: every arm on every task, at equal forgetting
	$(BIN)/python -m benchmarks.trial $(ARGS)

cifar: $(STAMP) ## Train original and retrained models on a folder of CIFAR-10: ARGS="FOLDER --tenth"
	$(BIN)/python -m benchmarks.cifar $(ARGS)

compare: $(STAMP) ## Compare the methods with those they claim to beat, at equal forgetting, and say what they cost
	$(BIN)/python -m benchmarks.compare $(ARGS)

notebooks: $(STAMP) ## Execute all notebooks again and store them with pictures
	$(BIN)/python tools/build_notebooks.py $(ARGS)

lessons: $(STAMP) ## Run every lesson under three seeds, check each thing it says, and store what was seen
	$(BIN)/python tools/check_lessons.py $(ARGS)

student: $(STAMP) ## Write the lessons without solutions and outputs to a new folder: make student DIR=lab
	$(BIN)/python tools/student.py "$(DIR)"

slides: $(STAMP) ## Turn each lesson into slides, in slides/
	$(BIN)/python tools/build_slides.py $(ARGS)

site: $(STAMP) ## Build the course, the reference and the glossary as pages, in site/
	$(BIN)/python tools/build_site.py $(ARGS)

page: $(STAMP) ## Write the workbench of lesson 00 as one page that needs no installation
	$(BIN)/python tools/build_page.py $(ARGS)

clean: ## Remove .venv and caches; data/ stays
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
