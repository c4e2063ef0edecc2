# make repro   build .venv and run the pipeline with the values of params.yaml
# make study   the same with profiles/study.yaml in build/study, where it resumes; its results go to reports/runs/study
#              and docs/trials/study.* (PROFILE=gemma: another profile, in folders of its name)
# make grid    train every objective of docs/trials/grid.yaml at several rates and weights, choose, and compare the best
#              (GRID=claim: in the paper's own setting; claim_long: longer); scores of each item go to reports/runs/grid
# make test    build .venv and run every check
# make explore  after a run: execute both explore notebooks (copies in reports/notebooks), picture docs/senses.png anew
# make bench   append speeds to tests/speed/results.csv and curves to scaling.csv beside it
# make gpu     whether every path is right on a GPU, and its speeds beside others'; rows in tests/speed/gpu.csv
# make verify  run the smoke profile twice under different circumstances and compare every hash
# make mutants  put small faults into the core, one at a time, and see whether the tests fail; rows in docs/mutants.csv
# make fuzz     give each reader a thousand hostile inputs; rows in docs/fuzz.csv
# make kill    kill a small run at 30 seeded moments and compare every hash with the undisturbed run's; rows in docs/killing.csv
# make docs    build the pages as a site in build/site; a broken link is an error (needs .venv-docs alone, which it makes)
# make lock    write requirements.txt anew from pyproject.toml

PYTHON ?= python3
PROFILE ?= study
GRID ?= grid
READY = .venv/.ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := true
IS_CLONE = git cat-file -e HEAD:./dvc.yaml 2>/dev/null || \
	{ echo "make $@ needs a clone of the repository: git clone it" >&2; exit 1; }

# A run of other code than this folder's is not gone on with.
IS_OF_THIS_CODE = git diff --quiet $$(git -C build/$(1) merge-base HEAD origin/HEAD) -- dskd notebooks profiles dvc.yaml || \
	{ echo "build/$(1) was begun with other code: commit yours, move build/$(1) away and run again" >&2; exit 1; }

.PHONY: repro study grid explore test bench gpu verify mutants fuzz kill docs lock
.DELETE_ON_ERROR:

# From a tarball, which is no Git repository, DVC runs when it is told so.
repro: $(READY)
	test -e .git || dvc config --local core.no_scm true
	dvc repro

# A clone of what is committed, so that the default run stays as it is; they share DVC's cache.
study: $(READY)
	@$(IS_CLONE)
	@test -n "$(filter $(PROFILE),$(basename $(notdir $(wildcard profiles/*.yaml))))" || \
		{ echo "no profile '$(PROFILE)' in profiles/" >&2; exit 1; }
	test -d build/$(PROFILE) || git clone --quiet . build/$(PROFILE)
	@$(call IS_OF_THIS_CODE,$(PROFILE))
	cd build/$(PROFILE) && dvc cache dir --local $(CURDIR)/.dvc/cache && python -m dskd profile $(PROFILE) && dvc repro
	rm -rf reports/runs/$(PROFILE) && mkdir -p reports/runs/$(PROFILE)
	cd build/$(PROFILE) && cp -R reports/metrics.json reports/index.html reports/provenance.json reports/quality.json reports/scores params.yaml \
		$(CURDIR)/reports/runs/$(PROFILE)/
	cp build/$(PROFILE)/dvc.lock reports/runs/$(PROFILE)/lock.yaml
	gzip -9nf reports/runs/$(PROFILE)/scores/*.jsonl
	test $(PROFILE) != study || python tests/tools/confirm.py
	python -m dskd readme

# Both halves of docs/trials/$(GRID).yaml: every objective at its best. The half for choosing is not run again where its
# table is there. Students and scores are kept in build/$(OF), where a run that was stopped goes on. claim_long has the
# text and the dictionary of claim.
OF = $(firstword $(subst _, ,$(GRID)))
TRIALS = cd build/$(OF) && python $(CURDIR)/tests/tools/trials.py $(CURDIR)/docs/trials/$(GRID).yaml
grid: $(READY)
	@$(IS_CLONE)
	@test -f docs/trials/$(GRID).yaml -a -f profiles/$(OF).yaml || \
		{ echo "no grid '$(GRID)': it needs profiles/$(OF).yaml and docs/trials/$(GRID).yaml" >&2; exit 1; }
	test -d build/$(OF) || git clone --quiet . build/$(OF)
	@$(call IS_OF_THIS_CODE,$(OF))
	cd build/$(OF) && dvc cache dir --local $(CURDIR)/.dvc/cache && python -m dskd profile $(OF) && dvc repro senses benchmarks
	test -e docs/trials/$(GRID).csv || { $(TRIALS); }
	rm -rf reports/runs/$(GRID) && mkdir -p reports/runs/$(GRID) && cp build/$(OF)/params.yaml reports/runs/$(GRID)/
	$(TRIALS) --half test --scores $(CURDIR)/reports/runs/$(GRID)/scores
	python -m dskd readme

explore: $(READY)
	python -m dskd notebook explore_senses
	python -m dskd notebook explore_results
	python tests/tools/picture.py

test: $(READY)
	ruff check .
	ruff format --check .
	mypy
	pytest

bench: $(READY)
	dvc repro targets@dskd
	python tests/speed/bench.py

gpu: $(READY)
	python tests/speed/gpu.py

verify: $(READY)
	@$(IS_CLONE)
	python tests/tools/circumstances.py

mutants: $(READY)
	python tests/tools/mutants.py

fuzz: $(READY)
	python tests/tools/fuzzing.py

kill: $(READY)
	python tests/tools/killing.py

# The pages, in their places, are the site's; mkdocs looks only into the folder that it is given.
docs: .venv-docs/.ready
	rm -rf build/docs build/site && mkdir -p build/docs
	ln -s $(addprefix $(CURDIR)/,README.md CHANGELOG.md CONTRIBUTING.md CITATION.cff LICENSE params.yaml docs dskd notebooks \
		profiles reports tests examples) build/docs/
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/.ready: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	touch $@

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "dskd needs Python 3.11: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock:
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet '.[pipeline,evaluate,share,dev]'
	.lock/bin/python -m pip freeze --all --exclude pip --exclude dskd | sed 's/+cpu$$//' > requirements.txt
	rm -rf .lock
