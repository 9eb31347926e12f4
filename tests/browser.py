"""Pages in a headless browser; what needs one is skipped where none is found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


needs_printing = pytest.mark.skipif(
    not CHROMIUM or not shutil.which("pdftotext"), reason="no Chromium, or no pdftotext of poppler"
)


def printed(page: str, folder: Path) -> list[str]:
    """Return the text of each sheet of a page that is printed, as it stands there."""
    inner, sheets = folder / "inner.html", folder / "sheets.pdf"
    inner.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000"]
    command += [f"--print-to-pdf={sheets}", inner.as_uri()]
    subprocess.run(command, capture_output=True, timeout=180, check=True)
    read = ["pdftotext", "-layout", str(sheets), "-"]
    done = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split("\f")


def run_in_page(page: str, script: str, folder: Path, *, dark: bool = False) -> Any:
    """Return what the promise that the JavaScript expression `script` makes gives within a page.

    The page's own policy would not let it run, so it is left out.
    """
    told = f"document.body.textContent = JSON.stringify(await ({script}))"
    ending = f"<script>(async () => {{ {told}; }})()</script>"
    inner = folder / "inner.html"
    free = POLICY.sub("", page).replace("</body>", f"{ending}</body>")
    inner.write_text(free, encoding="utf-8")
    scheme = 0 if dark else 1
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1200,900",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--virtual-time-budget=60000",
            "--dump-dom",
            inner.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    body = re.search(r"<body[^>]*>(.*)</body>", done.stdout, re.DOTALL)
    assert body, done.stderr[-2000:]
    return json.loads(html.unescape(body[1]))
