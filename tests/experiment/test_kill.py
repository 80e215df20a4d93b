"""SIGKILL at random moments; `benchmarks/campaign_robustness.py` is the long version."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "campaign_robustness.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and looks into /proc")
def test_no_cell_is_lost_or_doubled_or_changed_by_kills(tmp_path):
    modes = ("jobs0", "jobs2", "workers")
    command = [sys.executable, str(SCRIPT), "--seeds", "6", "--out", str(tmp_path)]
    command += ["--modes", ",".join(modes), "--kills", "4", "--horizon", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    # The script stops at the first cell that is not as it should be.
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "campaign_robustness.json").read_text())
    for mode in modes:
        assert counted[mode]["kills"] == 4
        assert counted[mode]["cells"] == 24 * counted[mode]["campaigns"]
    for mode in ("jobs0", "jobs2"):
        assert counted[mode]["starts"] == 4 + counted[mode]["campaigns"]
    assert (
        "equal to those of an undisturbed campaign"
        in (tmp_path / "campaign_robustness.md").read_text()
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
def test_the_study_would_notice_a_changed_cell(tmp_path):
    import campaign_robustness as study

    campaign = study.small_campaign(tmp_path / "a.db", 1)
    campaign.run(jobs=0, progress=False)
    right, written = study.contents(campaign.store), study.written_at(campaign.store)
    assert len(right) == len(written) == 4
    other = study.small_campaign(tmp_path / "b.db", 1)
    other.run(jobs=0, progress=False)
    assert study.contents(other.store) == right
    with study.Store(other.store) as store:
        cell = other.cells[0]
        outcome = study.engines.CellRunner()(other.cells[1])
        store.save(cell, outcome)
    assert study.contents(other.store) != right
