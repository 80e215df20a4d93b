"""The page as text, and as a browser sees it."""

import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import numpy as np
import pytest

from evogen.experiment import Store, Table, summarize, write_report
from evogen.experiment import report as report_module
from evogen.experiment.tables import Entry
from evogen.experiment.web_page import number_json, page, to_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

#: Runs before everything else on the page: whatever goes wrong is kept.
LISTEN = """<script>
window.problems = [];
addEventListener("error", (e) => problems.push(e.message));
addEventListener("unhandledrejection", (e) => problems.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => problems.push("policy: " + e.blockedURI));
const complain = console.error;
console.error = (...words) => { problems.push(words.join(" ")); complain(...words); };
</script>"""

#: Runs after everything else: what is on the page goes into an element of it.
LOOK = """<script>
(async () => {
  const found = {};
  const column = (table, i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);
  const table = document.querySelector("#tables table");
  const heads = [...table.tHead.rows[0].cells];
  const values = () => [...table.tBodies[0].rows].map((row) => row.cells[3].dataset.v ?? null);
  const click = (i) => heads[i].querySelector("button").click();
  found.header = heads.map((head) => head.textContent);
  click(3); found.ascending = values(); found.sort = heads[3].getAttribute("aria-sort");
  click(3); found.descending = values();
  click(0); found.names = column(table, 0);
  found.foot = table.tFoot.rows[0].cells[0].textContent;

  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  evogenReport.drawAll();
  const plots = evogenReport.figures.map((figure) => figure.querySelector(".plot"));
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(300);
  found.drawn = plots.map((plot) => plot.querySelector(".main-svg") !== null);
  found.kinds = evogenReport.figures.map((figure) => figure.dataset.figure);
  found.traces = plots.map((plot) => plot.data.length);
  found.buttons = [...new Set(
    [...document.querySelectorAll(".modebar-btn")].map((b) => b.dataset.title))];
  const over = plots[found.kinds.indexOf("convergence")];
  found.names_drawn = [...new Set(over.data.map((trace) => trace.name))];
  found.first_median = over.data[2].y;
  document.querySelector(".bar [data-algorithm='1']").click();
  await wait(50);
  found.names_left = [...new Set(over.data.map((trace) => trace.name))];
  document.querySelector("#problems .choices button[data-choice='hv']").click();
  await wait(50);
  found.axis = over.layout.yaxis.title.text;
  const ink = () => over.layout.font.color;
  const before = ink();
  document.getElementById("theme").click(); document.getElementById("theme").click();
  found.theme = document.documentElement.dataset.theme;
  found.inks = [before, ink()];
  found.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.problems = problems;
  return found;
})().catch((error) => ({ broken: String(error) })).then((found) => {
  const element = document.createElement("pre");
  element.textContent = "FOUND" + encodeURIComponent(JSON.stringify(found)) + "END";
  document.body.append(element);
});
</script>"""


def seen(path, tmp_path):
    """What a browser without network says about a page."""
    text = path.read_text(encoding="utf-8")
    assert text.count('<meta charset="utf-8">') == 1
    text = text.replace('<meta charset="utf-8">', f'<meta charset="utf-8">{LISTEN}')
    head, body = text.rsplit("</body>", 1)
    copy = tmp_path / "looked-at.html"
    copy.write_text(f"{head}{LOOK}</body>{body}", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
    flags += ["--disable-background-networking", "--no-first-run", "--window-size=1200,900"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=15000"]
    dump = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    match = re.search(r"FOUND([^<]*?)END</pre>", dump)
    assert match, "the page's scripts did not come to their end"
    return json.loads(unquote(match[1]))


@pytest.fixture(scope="module")
def written(filled, tmp_path_factory):
    pytest.importorskip("plotly", reason="needs the extra report")
    pytest.importorskip("scikit_posthocs", reason="needs the extra report")
    folder = tmp_path_factory.mktemp("page")
    # The figures in files have their own tests.
    with Store(filled) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "MAX_DRAWN", 0)
        write_report(store, folder, html=True)
    return folder / "index.html"


@needs_browser
def test_a_browser_draws_everything_sorts_and_asks_no_network(written, filled, tmp_path):
    found = seen(written, tmp_path)
    assert "broken" not in found, found
    assert found["problems"] == []
    assert found["requests"] == []
    assert all(found["drawn"])
    assert all(found["traces"])
    assert set(found["kinds"]) == {
        "marks", "ranks", "profile", "runtime", "convergence", "finals", "fronts", "attainment",
    }  # fmt: skip
    assert found["kinds"].count("fronts") == 5
    assert found["kinds"].count("attainment") == 3  # two objectives
    assert not any(
        "share" in title.lower() or "cloud" in title.lower() for title in found["buttons"]
    )
    with Store(filled) as store:
        results = summarize(store)
        median = results.median("two", "nsga2", "igd")
    assert found["first_median"][-1] == pytest.approx(median, rel=1e-3)

    assert found["header"] == ["problem", "floor", "nsga2", "best", "middle <i>", "worst_of_all"]
    numbers = [v for v in found["ascending"] if v is not None]
    assert numbers == sorted(numbers, key=float)
    assert len(numbers) == 4
    assert found["ascending"] == [*numbers, None]
    assert found["descending"] == [*reversed(numbers), None]
    assert found["sort"] == "ascending"
    assert found["names"] == ["a<b> & c", "five", "three", "two", "unknown"]
    assert found["foot"] == "+ / = / -"

    assert found["names_drawn"] == ["nsga2", "best", "middle &lt;i&gt;", "worst_of_all", "floor"]
    assert "best" not in found["names_left"]
    assert found["axis"] == "Hypervolume"
    assert found["theme"] == "dark"
    assert found["inks"][0] != found["inks"][1]


def test_the_page_says_how_its_numbers_were_made(written):
    text = written.read_text(encoding="utf-8")
    body = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    for words in (
        "Holm", "Nemenyi", "Friedman", "Dolan", "rank-sum", "reference point is 1.1", "seeds 1, 2",
        "numpy 2", "120 finished runs, 1 failed",
        "critical difference",
    ):  # fmt: skip
        assert words in body, words
    anchors = re.findall(r'href="#([\w-]+)"', body)
    assert len(anchors) > 8
    assert all(f'id="{anchor}"' in body for anchor in anchors)


def test_names_and_errors_from_a_store_are_texts_and_never_code(written):
    text = written.read_text(encoding="utf-8")
    assert "<script>throw 1" not in text
    assert "&lt;/script&gt;&lt;script&gt;throw 1" in text
    assert "a<b>" not in text
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert json.loads(data[1])["problems"][3]["label"] == "a<b> & c"


def test_the_page_holds_all_that_it_needs(written):
    text = written.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(
        r"<(link|img|iframe|script)[^>]+(src|href)=", text.split("<main>")[1][:20000]
    )
    assert "<script src" not in text
    assert text.count("plotly.js v") <= 2
    assert len(text) < 6e6


def test_the_same_store_gives_the_same_page(written, filled, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "MAX_DRAWN", 0)
    with Store(filled) as store:
        write_report(store, tmp_path, html=True)
    assert (tmp_path / "index.html").read_bytes() == written.read_bytes()


def test_a_table_keeps_numbers_to_sort_by_and_its_last_row():
    rows = [
        [Entry("p<"), Entry("1.00 (0.2)", "+", True, 1.0), Entry("-")],
        [Entry("q"), Entry("inf", "-", value=np.inf), Entry("x" * 30)],
        [Entry("+ / = / -"), Entry("1 / 0 / 1"), Entry("")],
    ]
    html = to_html(Table("title", ["problem", "a&b", "c"], rows, "read <this>"))
    assert '<th scope="row">p&lt;</th><td class="best" data-v="1.0">1.00 (0.2)' in html
    assert '<span class="mark better">+</span>' in html
    assert 'data-v="inf"' in html
    assert '<th scope="col" class=words>c</th>' in html
    assert '<td class="words">xxx' in html
    assert html.index("<tfoot>") > html.index("</tbody>")
    assert "a&amp;b" in html
    assert "read &lt;this&gt;" in html


def test_numbers_are_short_and_what_is_not_finite_is_null():
    assert number_json([0.123456, 12345678.0, np.nan, np.inf, 3.0]) == [
        0.1235,
        12345678,
        None,
        None,
        3,
    ]
    assert number_json([[1.0, 2.5]]) == [[1, 2.5]]
    assert number_json(0.5) == 0.5


def test_nothing_in_the_data_can_end_its_element():
    text = page("t", "", [], data={"label": "</script><script>x", "line": "\u2028"})
    assert text.count("</script>") == 2
    assert "\u2028" not in text
