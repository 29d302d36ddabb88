"""A private browser for tests: Chromium, from the system or from Debian's packages (see `tests.server_programs`), without a window."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.server_programs import Programs, chromium_programs

LIMIT_MS = 60_000
"""So long is waited for what a page shall show: `expect` knows nothing of a page's own limit, and else gives up after 5 s."""
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


@contextmanager
def chromium(programs: Programs | None = None) -> Iterator[Browser]:
    """A browser until the end of the block. Its sandbox is off, for it only ever sees pages of ours."""
    found = programs or chromium_programs()
    expect.set_options(timeout=LIMIT_MS)
    with tempfile.TemporaryDirectory(prefix="trueup-browser-") as folder, sync_playwright() as started:
        environment: dict[str, str | float | bool] = {**os.environ}
        if found.unpacked is not None:  # neither its libraries nor its fonts are where programs look
            (Path(folder) / "fonts.conf").write_text(FONTS.format(fonts=found.share / "fonts", cache=folder), encoding="utf-8")
            environment |= {
                "LD_LIBRARY_PATH": os.pathsep.join(map(str, found.libraries)),
                "FONTCONFIG_FILE": str(Path(folder) / "fonts.conf"),
            }
        opened = started.chromium.launch(executable_path=found.directory / "chromium", args=["--no-sandbox"], env=environment)
        try:
            yield opened
        finally:
            opened.close()
