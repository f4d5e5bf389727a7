# SPDX-License-Identifier: Apache-2.0

# make demo            a talking face on real ROS 2: demo.mp4, demo.png and a table of measurements
# make lint            the linters, as pre-commit runs them
# make test            the linters, and the tests of what a robot runs
# make test-training   those of training and enrolment (test/training), in an environment of their own
# make format          formats the code and mends what ruff can
# make install         the environment only (.venv); install-training: .venv-training
# make clean           removes what these made
#
# Debian, Ubuntu: sudo apt install python3-venv python3-dev g++ make (Python 3.10 to 3.14).
# No GPU, no ROS from apt, no torch but for test-training.
# PYTHON=python3.12 make demo chooses the Python; VENV=/path another environment.

# The first of these commands that is Python 3.10 to 3.MINOR and makes environments: $(call find,MINOR,COMMANDS)
find = $(shell for p in $(2); do $$p -c 'import sys, venv; from ensurepip import version; \
	sys.exit(not (3, 10) <= sys.version_info < (3, $(1) + 1))' 2>/dev/null && echo $$p && break; done)

VENV ?= .venv
PYTHON ?= $(call find,14,python3 python3.14 python3.13 python3.12 python3.11 python3.10)
EXTRAS = ros,tts,display,test,lint
TRAINING_VENV ?= .venv-training
# Up to Python 3.12 there is a MediaPipe that carries a model; with a newer one the tests that need a
# model are skipped, unless a face_landmarker.task is found (docs/enroll.md).
TRAINING_PYTHON ?= $(or $(call find,12,python3 python3.12 python3.11 python3.10),$(PYTHON))
TRAINING_EXTRAS = train,enroll,test,tts
TORCH ?= torch==2.13.0
# After an upgrade of the system an environment's Python is another one without packages, or gone.
pip_in = $(1)/bin/python -c 'from importlib.metadata import version; version("pip")' 2>/dev/null
stale = $(shell test -e $(1)/.installed && ! $(call pip_in,$(1)) && echo stale)
no_links = find $(1)/bin -type l -name 'python*' -delete 2>/dev/null
# pip takes a package for installed as soon as its METADATA is there; INSTALLER comes when its files
# are. Of an installation that was interrupted, begun packages are forgotten: pip brings them again.
forget_begun = test ! -e $(1)/.installing || find $(1) -path '*/site-packages/*.dist-info' -prune \
	! -exec test -e {}/INSTALLER \; -exec rm -rf {} +
begin = mkdir -p $(1) && rm -f $(1)/.installed $(1)/.installing && touch $(1)/.installing
end = mv $(1)/.installing $(1)/.installed
# One installation at a time builds in this folder; who has waited looks what is still to be done.
LOCK = $(shell flock -nE 0 Makefile true 2>/dev/null && echo flock Makefile)
wait = @test -z "$(LOCK)" || flock -n Makefile true || echo "== waiting for another make in this folder"
# PyPI's ROS 2 has its own libraries and one RMW; those of a sourced ROS 2 are not for it. (The first
# variable is the wheels' mark of a set-up environment; inherited from another one it does harm.)
RUN = env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH -u RMW_IMPLEMENTATION -u CMAKE_PREFIX_PATH \
	$(if $(AMENT_PREFIX_PATH),-u AMENT_PREFIX_PATH -u LD_LIBRARY_PATH)

# What the messages and the installed package are made of.
SOURCES = pyproject.toml setup.py CMakeLists.txt package.xml README.md NOTICE \
	$(wildcard cmake/* msg/*.msg action/* launch/* config/*) \
	$(shell find realtalk_ros -type f -not -name '*.pyc' -not -path '*/__pycache__/*')

.PHONY: help demo lint format test test-training install install-training clean stale
help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	$(RUN) $(VENV)/bin/realtalk demo --out demo.mp4

# The installed package need not be current to check the sources.
lint:
	@sh cmake/check.sh --owner
	@{ test -x $(VENV)/bin/pre-commit && $(call pip_in,$(VENV)); } || $(MAKE) install
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/codespell
	@if $(VENV)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		$(RUN) $(VENV)/bin/mypy; \
		else echo "mypy is left out: the types of NumPy for Python 3.10 are others"; fi
	$(RUN) $(VENV)/bin/python -m pytest -q test/test_style.py

format:
	@sh cmake/check.sh --owner
	@{ test -x $(VENV)/bin/pre-commit && $(call pip_in,$(VENV)); } || $(MAKE) install
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

test: $(VENV)/.installed
	$(MAKE) lint
	$(RUN) sh test/run.sh $(VENV)/bin/python --ignore=test/test_style.py

test-training: $(TRAINING_VENV)/.installed
	$(RUN) OMP_NUM_THREADS=1 $(TRAINING_VENV)/bin/python -m pytest -n 2 --dist loadfile test/training

install: $(VENV)/.installed

install-training: $(TRAINING_VENV)/.installed

ifndef LOCKED
$(VENV)/.installed: $(SOURCES) $(call stale,$(VENV))
	$(wait)
	@$(LOCK) $(MAKE) --no-print-directory LOCKED=1 $@

$(TRAINING_VENV)/.installed: pyproject.toml $(call stale,$(TRAINING_VENV))
	$(wait)
	@$(LOCK) $(MAKE) --no-print-directory LOCKED=1 $@
else
$(VENV)/.installed: $(SOURCES) $(call stale,$(VENV))
	@sh cmake/check.sh "$(PYTHON)" "$(VENV)"
	@$(call forget_begun,$(VENV))
	@$(call begin,$(VENV))
	@$(call pip_in,$(VENV)) || { echo "== environment $(VENV) ($(PYTHON))"; \
		$(call no_links,$(VENV)); $(PYTHON) -m venv $(VENV); }
	@$(RUN) sh cmake/check.sh --pip $(VENV)/bin/python
	@echo "== installing realtalk_ros[$(EXTRAS)]: ROS 2 wheels, messages (a minute)"
	$(RUN) $(VENV)/bin/python -m pip install -q --disable-pip-version-check ".[$(EXTRAS)]"
	@$(call end,$(VENV))

# The tests take the sources from this folder: only other requirements make it install again.
$(TRAINING_VENV)/.installed: pyproject.toml $(call stale,$(TRAINING_VENV))
	@sh cmake/check.sh "$(TRAINING_PYTHON)" "$(TRAINING_VENV)"
	@$(call forget_begun,$(TRAINING_VENV))
	@$(call begin,$(TRAINING_VENV))
	@$(call pip_in,$(TRAINING_VENV)) || { echo "== environment $(TRAINING_VENV) ($(TRAINING_PYTHON))"; \
		$(call no_links,$(TRAINING_VENV)); $(TRAINING_PYTHON) -m venv $(TRAINING_VENV); }
	@$(RUN) sh cmake/check.sh --pip $(TRAINING_VENV)/bin/python
	@echo "== installing realtalk_ros[$(TRAINING_EXTRAS)] and $(TORCH): PyTorch, MediaPipe (minutes)"
	$(RUN) $(TRAINING_VENV)/bin/python -m pip install -q --disable-pip-version-check \
		".[$(TRAINING_EXTRAS)]" "$(TORCH)"
	@$(call end,$(TRAINING_VENV))
endif

clean:
	rm -rf $(VENV) $(TRAINING_VENV) build install log *.egg-info demo.mp4 demo.png .pytest_cache \
		.ruff_cache .mypy_cache
