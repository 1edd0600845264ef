"""``python -m imu_lab``, the main job without a browser: what it prints, and the page that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imu_lab import __main__ as demo


@pytest.mark.slow
def test_it_prints_the_comparison_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    assert demo.main(["--steps", "40", "--at-forget", "0.5", "--out", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Forgetting class 3: 146 samples, digits") and str(file) in printed
    rows = [line for line in printed.splitlines() if "imu · " in line]
    assert len(rows) == 2 * len(demo.RULES) and "original" in printed
    words = file.read_text()
    assert words.count("plotly-graph-div") == 3 and "imu · shuffled · equal steps" in words and 'src="http' not in words


def test_what_cannot_be_asked_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main(["--forget-class", "<b>"])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("unknown class: '<b>'")
