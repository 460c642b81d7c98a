"""The report and the site in a browser, where there is one and the site is built."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from skmoe import MoERegressor
from skmoe.datasets import make_regimes
from skmoe.inspection import report
from skmoe.trainers import EM

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
SITE = Path(__file__).parent.parent / "docs" / "_build" / "html"
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium to open pages with (Debian: apt install it)"
)
built = pytest.mark.skipif(
    not (SITE / "index.html").exists(),
    reason="the site is not built: python docs/build.py",
)
# What the theme of the site tells the console of what it does.
CHATTER = '"[PST]: '
# Who asks, in the log of the network, where no page does; and what is no request.
BY_ITSELF = "not an origin"
OWN = re.compile(r"(file|data|about|blob):|http://127\.0\.0\.1[:/]")
# What the browser would ask the net for by itself.
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def opened(address, folder, *options):
    """What a page became, what its scripts complained of, and what it asked for."""
    log = folder / "net.json"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    done = subprocess.run(
        [CHROMIUM, *QUIET, *own, *options, "--dump-dom", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = done.stderr.splitlines()
    told = [own for own in lines if "CONSOLE" in own and CHATTER not in own]
    return done.stdout, told, requests(log)


def requests(log):
    """Addresses outside this machine that a page, not the browser itself, asked for."""
    given = [own.get("params", {}) for own in json.loads(log.read_text())["events"]]
    asked = {
        own["url"]
        for own in given
        if "url" in own and own.get("initiator", BY_ITSELF) != BY_ITSELF
    }
    return sorted(url for url in asked if not OWN.match(url))


def test_requests_and_errors_of_a_page_are_seen(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        '<p>a</p><script src="https://cdn.invalid/x.js"></script><script>f()</script>'
    )
    shown, told, asked = opened(path.as_uri(), tmp_path)
    assert "<p>a</p>" in shown
    assert any("f is not defined" in line for line in told)
    assert asked == ["https://cdn.invalid/x.js"]


def test_report_opens_from_disk_and_asks_for_nothing(tmp_path):
    X, y = make_regimes(60, random_state=0)
    model = MoERegressor(n_experts=2, trainer=EM(max_iter=3), random_state=0)
    with np.errstate(all="ignore"), pytest.warns():
        page = report(model.fit(X, y), X, y)
    path = tmp_path / "page.html"
    # As a reader who chooses the third row.
    choose = (
        '<script>var c=document.getElementById("chooser");c.value="2";'
        'c.dispatchEvent(new Event("change"))</script>'
    )
    path.write_text(page.html.replace("</body>", choose + "</body>"), "utf-8")
    shown, told, asked = opened(path.as_uri(), tmp_path)
    assert not told
    assert not asked
    before = page.html.split('id="chosen"')[1].split("<noscript")[0]
    after = shown.split('id="chosen"')[1].split("<noscript")[0]
    assert after != before
    assert "<td" in after


@pytest.fixture(scope="module")
def address():
    """Where this machine, and no other, finds the site."""
    quiet = type(
        "Quiet",
        (http.server.SimpleHTTPRequestHandler,),
        {"log_message": lambda *_: None},
    )
    handler = functools.partial(quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@built
@pytest.mark.parametrize("page", ["index.html", "user_guide.html", "choose.html"])
def test_pages_complain_of_nothing_and_ask_nobody(page, address, tmp_path):
    shown, told, asked = opened(f"{address}/{page}", tmp_path)
    assert "</html>" in shown
    assert not told
    assert not asked


@built
def test_search_finds_a_class(address, tmp_path):
    wait = "--virtual-time-budget=10000"
    shown, told, asked = opened(f"{address}/search.html?q=MoERegressor", tmp_path, wait)
    assert not told
    assert not asked
    assert re.search(r'href="[^"]*MoERegressor\.html', shown)


@built
def test_search_works_from_disk(tmp_path):
    page = (SITE / "search.html").as_uri() + "?q=MoERegressor"
    shown, _, asked = opened(page, tmp_path, "--virtual-time-budget=10000")
    assert not asked
    assert re.search(r'href="[^"]*MoERegressor\.html', shown)
