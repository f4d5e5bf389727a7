# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import numpy as np
import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.output.live_link import live_link_csv, timecode


def test_timecode_counts_frames_and_carries():
    assert timecode(0, 25) == "00:00:00:00.000"
    assert timecode(3661.04, 25) == "01:01:01:01.000"
    assert timecode(0.9999999, 25) == "00:00:01:00.000"


def test_live_link_csv_reads_back_by_column_name(tmp_path):
    path = tmp_path / "out.csv"
    weights = np.linspace(0, 1, 52)
    with live_link_csv(path, 25) as writer:
        writer.write(0.04, weights, (0.1, 0.2, 0.3))
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 1 and len(rows[0]) == 63
    row = rows[0]
    assert row["Timecode"] == "00:00:00:01.000" and row["BlendShapeCount"] == "61"
    for name in arkit.NAMES:
        assert abs(float(row[name[0].upper() + name[1:]]) - weights[arkit.INDEX[name]]) < 1e-6
    assert (row["HeadPitch"], row["HeadYaw"], row["HeadRoll"]) == (
        "0.10000000",
        "0.20000000",
        "0.30000000",
    )
    # Live Link's own order differs from Apple's here.
    assert list(row)[2 + 15 : 2 + 17] == ["JawRight", "JawLeft"]


def test_only_errors_of_the_csv_are_told_as_its_own(tmp_path):
    path = tmp_path / "out.csv"
    with pytest.raises(BrokenPipeError), live_link_csv(path, 25):
        raise BrokenPipeError(32, "Broken pipe")  # of the video beside it
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("rows", [0, 100])  # written when it is closed, and before
def test_a_csv_without_room_is_told(rows):
    full = Path("/dev/full")
    with (
        pytest.raises(RealTalkError, match="cannot write /dev/full .No space"),
        live_link_csv(full, 25) as writer,
    ):
        for k in range(rows):
            writer.write(k / 25, np.zeros(52))
