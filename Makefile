# make demo   a talking face on real ROS 2: demo.mp4, demo.png and a table of measurements
# make test   the tests
#
# Debian, Ubuntu: sudo apt install python3-venv python3-dev g++ make (Python 3.10 to 3.13).
# No GPU, no ROS from apt, no torch.
# PYTHON=python3.12 make demo chooses the Python; VENV=/path another environment.

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys, venv; from ensurepip import version; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo $$p && break; done)
EXTRAS = ros,tts,display,test
# The wheels mark a set-up environment by this variable; inherited from another one it does harm.
RUN = env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH

# What the messages and the installed package are made of.
SOURCES = pyproject.toml setup.py CMakeLists.txt package.xml README.md NOTICE \
	$(wildcard cmake/* msg/*.msg action/* launch/* config/*) \
	$(shell find realtalk_ros -type f -not -name '*.pyc' -not -path '*/__pycache__/*')

.PHONY: help demo test install clean
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile
	@echo "make install   the environment only ($(VENV))"
	@echo "make clean     removes what these made"

demo: $(VENV)/.installed
	$(RUN) $(VENV)/bin/realtalk demo --out demo.mp4

test: $(VENV)/.installed
	$(RUN) sh test/run.sh $(VENV)/bin/python

install: $(VENV)/.installed

$(VENV)/.installed: $(SOURCES)
	@sh cmake/check.sh "$(PYTHON)" "$(VENV)"
	@{ test -x $(VENV)/bin/python && test -x $(VENV)/bin/pip; } || { echo "== environment $(VENV) ($(PYTHON))"; \
		$(PYTHON) -m venv $(VENV); }
	@$(RUN) sh cmake/check.sh --pip $(VENV)/bin/python
	@echo "== installing realtalk_ros[$(EXTRAS)]: ROS 2 wheels, messages (a minute)"
	$(RUN) $(VENV)/bin/python -m pip install --disable-pip-version-check ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) build install log *.egg-info demo.mp4 demo.png .pytest_cache
