# SPDX-License-Identifier: Apache-2.0
"""not_run.py REPORT: the tests that were skipped in every run of pytest that wrote to REPORT.

A line of REPORT is a test (or a file, where all of it was skipped), a tab, and `ran` or the reason
of skipping it; conftest.py writes them where REALTALK_TEST_REPORT names the file. What a test needs
says its own file (importorskip, skipif).
"""

import sys
from pathlib import Path


def not_run(lines: list[str]) -> dict[str, list[str]]:
    """Reason -> the tests that no run has run."""
    entries = [line.rsplit("\t", 1) for line in lines]
    ran = {test for test, what in entries if what == "ran"}
    ran |= {test.partition("::")[0] for test in ran}
    reasons: dict[str, list[str]] = {}
    for test, reason in dict(entry for entry in entries if entry[1] != "ran").items():
        if test not in ran:
            reasons.setdefault(reason, []).append(test)
    return reasons


if __name__ == "__main__":
    reasons = not_run(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    count = sum(map(len, reasons.values()))
    print(f"{count} tests were skipped in every run" + (":" if count else ""))
    for reason, tests in sorted(reasons.items()):
        print(f"  {reason}: {', '.join(tests)}")
