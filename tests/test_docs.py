"""The documentation: its Python runs, its links lead somewhere, its figures are there."""

import re
from pathlib import Path

import pytest
from pymoo.problems import get_problem

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

#: What the pages take as given.
GIVEN = {"my_problem": get_problem("zdt2", n_var=5)}


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


DOCS = ("operators", "problems", "diffusion", "gmoea", "ask", "models", "multitask")
RUNNING = ["README", *(f"docs/{p}" for p in DOCS)]


@pytest.mark.parametrize("page", [f"{name}.md" for name in RUNNING])
def test_the_python_of_a_page_runs(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = dict(GIVEN)
    blocks = python_blocks(ROOT / page)
    assert blocks, "nothing to run: the page has lost its Python, or its fences changed"
    for block in blocks:
        # The same calls with a smaller budget.
        short = re.sub(r'\("n_eval", \d+\)', '("n_eval", 250)', block)
        short = re.sub(r"n_steps=\d+", "n_steps=2", short)
        exec(compile(short, page, "exec"), names)
    capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_figures_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    missing = [t for t in targets if not (page.parent / t).exists()]
    assert missing == []
