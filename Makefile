# Every target sets up what it needs in .venv, once. `make help` lists targets and variables.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One release of the range in setup.cfg: this number resolves to a CPU build or a CUDA build by machine.
TORCH := torch==2.13.0

REGION ?= sample
START ?=
END ?=
STORE ?=
EE_PROJECT ?=
WORLD ?=
SCHEDULER ?= threads

FROM ?=
MODEL ?=
MODELS ?=
RUN ?=
LM ?=
OUT ?=
DATES ?=
CLOUDS ?=
LAYERS ?=
POLYGONS ?=
DEVICE ?=
BEFORE ?=
AFTER ?=
MAP ?=
POINTS ?=
LABELLED ?=
DATASET ?=
FOLDER ?=
SEED ?= 0
MINUTES ?= 30
SET ?=
# Stores to read, one or several; keys of the training config.
STORES = $(foreach store,$(STORE),--store '$(store)')
SETTINGS = $(foreach setting,$(SET),--set '$(setting)')
# Folder of the run to look at: what is given, else that of the network.
RUN_OF = $(if $(RUN),--run '$(RUN)',$(if $(MODEL),--run 'runs/$(MODEL)'))
# What the flows have in common.
ARGS = $(if $(START),--start '$(START)') $(if $(END),--end '$(END)') $(if $(STORE),--store '$(STORE)') \
	$(if $(EE_PROJECT),--project '$(EE_PROJECT)') $(if $(WORLD),--world '$(WORLD)') --scheduler '$(SCHEDULER)'

# A variable that is given and not known is a slip of the pen: nothing runs, and the nearest name is said.
VARIABLES := $(shell sed -nE 's/^([A-Z_]+) [?]=.*/\1/p' $(firstword $(MAKEFILE_LIST)))
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(firstword $(filter-out $(VARIABLES) VENV BIN SHELL MAKE% -%,$(GIVEN)))
ifneq ($(UNKNOWN),)
NEAREST := $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1, 0.5))' \
	'$(UNKNOWN)' $(VARIABLES))
$(error $(UNKNOWN)= is no variable of this Makefile; $(if $(NEAREST),did you mean $(NEAREST)=? )`make help` lists them all)
endif

# What a change to one room breaks first: pure code, stores and networks of a few pixels. The planet, the graphs of
# functions, the maps and everything with another process are left to `make test`.
QUICK := $(addprefix tests/unit/test_,$(addsuffix .py,annotated_files draw grid limiter model_losses model_metrics \
	model_reliability pairing resplit sampling shards spec splits store tiles verify_bytes))

.PHONY: help setup export-region regenerate train evaluate map change explain compare sample assess import view notebooks report test test-quick lint docs minimum \
	bench bench-map bench-peers bench-scaling bench-read soak chaos gpu-check

help: ## list targets and variables
	@echo "targets"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | awk -F'|' '{printf "  %-15s %s\n", $$1, $$2}'
	@echo "variables, all optional"
	@echo "  REGION=         a shipped region ($(patsubst pipelines/regions/%.yaml,%,$(wildcard pipelines/regions/*.yaml))), a spec .yaml, a .geojson,"
	@echo "                  or west,south,east,north in degrees (now: $(REGION))"
	@echo "  FROM=           regenerate: the store or plan whose tiles get new dates"
	@echo "  MODEL= RUN=     train, evaluate: name of a network (specsar_former, segformer, unet, ...); folder of the run"
	@echo "  MODELS= LM=     compare: names with spaces between; explain: folder or URL of a language model"
	@echo "  RUN= OUT= STORE=  map: folder of the run and of the map; a store to map in place of Earth Engine's pixels"
	@echo "  DATES= CLOUDS=  map: best, all or a number of scenes to merge; mask or keep what Dynamic World calls cloud"
	@echo "  LAYERS= POLYGONS= DEVICE=  map: also probabilities, sources; areas by polygon of this file; cpu or cuda"
	@echo "  BEFORE= AFTER=  change: folders of two maps of one region"
	@echo "  MAP= POINTS= LABELLED=  sample, assess, view: folder of a map; how many points to draw; files of labelled points"
	@echo "  DATASET= FOLDER=  import: the data set (dwplus import --help lists them); the folder where it lies"
	@echo "  SET=            train, compare: values of the config, as in SET='optim.epochs=8 data.crop=128'"
	@echo "  SEED= MINUTES=  chaos: what is drawn follows from the seed; no new round after so many minutes"
	@echo "  START= END=     label dates [START, END), YYYY-MM-DD; in place of the region's own"
	@echo "  STORE=          Zarr store: a folder, s3://bucket/prefix or gs://bucket/prefix (default: data/<name of the region>.zarr)"
	@echo "  EE_PROJECT=     Google Cloud project with Earth Engine; empty: the embedded Earth, which needs no key"
	@echo "  WORLD=          without EE_PROJECT: an asset tree of real rasters, or the URL of 'dwplus earth serve'"
	@echo "  SCHEDULER=      threads (default), processes, or the address of a Dask scheduler"

# The stamp is younger than the packaging files when the environment fits them.
$(VENV)/.ready: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once; about 3 GB, one to three minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77' wheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev,peers]' '$(TORCH)'
	@touch $@

setup: $(VENV)/.ready ## make .venv with everything in it

export-region: $(VENV)/.ready ## plan and export a region into a Zarr store
	@$(BIN)/dwplus export-region --region '$(REGION)' $(ARGS)

regenerate: $(VENV)/.ready ## new dates for the tiles of a store or plan: FROM= START= END=
	@$(BIN)/dwplus regenerate --from '$(FROM)' $(ARGS)

train: $(VENV)/.ready ## train a network on a store (none given: the sample, exported first): STORE= MODEL= RUN=
	@$(BIN)/dwplus train $(STORES) $(if $(MODEL),--model '$(MODEL)') $(if $(RUN),--run '$(RUN)') $(SETTINGS)

evaluate: $(VENV)/.ready ## tables, figures and a page of a trained network: STORE= RUN=
	@$(BIN)/dwplus evaluate $(STORES) $(RUN_OF)

# REGION=sample, given, is all of its sites; a first map is a corner of them.
map: $(VENV)/.ready ## a map of a region by a trained network (none given: one is trained first): REGION= RUN= OUT=
	@$(BIN)/dwplus map $(if $(filter file,$(origin REGION)),,--region '$(REGION)') $(ARGS) $(if $(RUN),--run '$(RUN)') \
		$(if $(MODEL),--model '$(MODEL)') $(if $(OUT),--out '$(OUT)') $(if $(DATES),--dates '$(DATES)') \
		$(if $(CLOUDS),--clouds '$(CLOUDS)') $(if $(LAYERS),--layers $(LAYERS)) \
		$(if $(POLYGONS),--polygons '$(POLYGONS)') $(if $(DEVICE),--device '$(DEVICE)')

change: $(VENV)/.ready ## what became what between two maps: BEFORE= AFTER=
	@$(BIN)/dwplus change --before '$(BEFORE)' --after '$(AFTER)'

explain: $(VENV)/.ready ## facts and words on each tile of a trained network: STORE= RUN= LM=
	@$(BIN)/dwplus explain $(STORES) $(RUN_OF) $(if $(LM),--lm '$(LM)')

compare: $(VENV)/.ready ## one table of several networks under one budget: STORE= MODELS=
	@$(BIN)/dwplus compare $(STORES) $(if $(MODELS),--models $(MODELS)) $(SETTINGS)

sample: $(VENV)/.ready ## points of a map to label, and the page to label them on: MAP= POINTS= OUT=
	@$(BIN)/dwplus sample '$(MAP)' $(if $(POINTS),-n '$(POINTS)') -o '$(or $(OUT),$(patsubst %/,%,$(MAP)).points.csv)'

assess: $(VENV)/.ready ## accuracy and areas of a map, with intervals, from labelled points: MAP= LABELLED= POLYGONS=
	@$(BIN)/dwplus assess '$(MAP)' $(foreach file,$(LABELLED),'$(file)') $(if $(POLYGONS),--polygons '$(POLYGONS)') \
		$(if $(OUT),--out '$(OUT)')

import: $(VENV)/.ready ## a store of a public data set, or of a folder of your own: DATASET= FOLDER= STORE=
	@$(BIN)/dwplus import '$(DATASET)' '$(FOLDER)' '$(STORE)'

view: $(VENV)/.ready ## look at tiles in the browser, filter and mark them; until Ctrl-C: STORE=, RUN= (with STORE=) or MAP=
	@$(BIN)/dwplus view $(if $(RUN),'$(RUN)' --store '$(or $(STORE),data/sample.zarr)','$(or $(MAP),$(STORE),data/sample.zarr)')

notebooks: $(VENV)/.ready ## open the notebooks in JupyterLab, which is installed once; until Ctrl-C
	@test -x $(BIN)/jupyter-lab || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@cd notebooks && ../$(BIN)/jupyter-lab

report: $(VENV)/.ready ## one HTML page on a store: STORE=
	@$(BIN)/dwplus report '$(or $(STORE),data/sample.zarr)' -o '$(or $(STORE),data/sample.zarr).report.html'

test: $(VENV)/.ready ## run the tests (no network)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-quick: $(VENV)/.ready ## run the unit tests that matter most; under a minute on two idle cores
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(QUICK)

lint: $(VENV)/.ready ## ruff, import contracts and mypy
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

docs: $(VENV)/.ready ## build the documentation into site/, notebooks executed; a warning or dead link is an error
	@$(BIN)/python -W ignore docs/run_notebooks.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html"

# The code and its tests on the lowest versions that setup.cfg allows, in an environment of its own.
minimum: $(VENV)/.ready ## run the unit tests with the lowest versions allowed
	@test -x $(VENV)-minimum/bin/python || $(PYTHON) -m venv $(VENV)-minimum
	@# torch first, by pip, which is set up for the build that fits the machine; uv then leaves it alone.
	@$(VENV)-minimum/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@$(BIN)/python -m uv pip install --quiet --python $(VENV)-minimum/bin/python --resolution lowest-direct --editable '.[test]'
	@$(VENV)-minimum/bin/python -m pytest -q tests/unit

gpu-check: $(VENV)/.ready ## CUDA tests and all figures of a GPU; writes gpu-check.json; without a GPU it says so (status 2)
	@$(BIN)/python -m benchmarks.gpu_check --json gpu-check.json

bench: $(VENV)/.ready ## all benchmarks, those beside peers included; prints tables, JSON in build/
	@$(BIN)/python -m benchmarks.bench_export
	@$(BIN)/python -W ignore -m benchmarks.bench_earth
	@$(BIN)/python -m benchmarks.bench_plan
	@$(BIN)/python -m benchmarks.bench_fire
	@$(MAKE) --no-print-directory bench-read bench-scaling bench-peers
	@mkdir -p build && $(BIN)/python -m benchmarks.bench_model --json build/bench-model.json

bench-peers: $(VENV)/.ready ## the exporter beside xee, geedim, edown, geebeam and download URLs; about 15 minutes
	@$(BIN)/python -m benchmarks.peers --json build/bench-peers.json --chart build/bench-peers.svg

bench-scaling: $(VENV)/.ready ## plan and export with 10 and 100 times the tiles, and with 1 to 8 workers
	@$(BIN)/python -m benchmarks.bench_scaling

bench-map: $(VENV)/.ready ## maps: speed, memory, truth and areas on the sample planet: RUN=
	@$(BIN)/python -m benchmarks.bench_map --run '$(or $(RUN),runs/$(or $(MODEL),specsar_former))'

bench-read: $(VENV)/.ready ## reading tiles at random, beside other formats: STORE=
	@test -n '$(STORE)' || test -e data/sample.zarr || $(BIN)/dwplus export-region
	@$(BIN)/python -m benchmarks.bench_read --store '$(or $(STORE),data/sample.zarr)'

soak: $(VENV)/.ready ## export under faults, kills and a full disk; at most 20 minutes
	@$(BIN)/python -m benchmarks.soak

chaos: $(VENV)/.ready ## rounds of kills, signals, broken disks and clocks; every store must come out the same: SEED= MINUTES=
	@$(BIN)/python -m benchmarks.chaos --seed '$(SEED)' --minutes '$(MINUTES)'
