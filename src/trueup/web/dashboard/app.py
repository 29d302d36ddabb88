"""The dashboard as a part of an application: NiceGUI's pages at `/`, behind the guard of the desk, which lets nobody in without a login.

NiceGUI has one set of pages per process; so has the dashboard.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import app as nice
from nicegui import ui
from starlette.requests import Request

from trueup.web.dashboard.frame import frame
from trueup.web.dashboard.guest import Guest
from trueup.web.dashboard.pulse import Pulse
from trueup.web.dashboard.site import Site

if TYPE_CHECKING:
    from fastapi import FastAPI

    from trueup.web.desk.place import Place

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#1a5799'/>"
    "<path d='M7 12h18M7 20h18' stroke='#fff' stroke-width='3.5' stroke-linecap='round'/></svg>"
)
STYLE, SCRIPT = (Path(__file__).with_name("static").joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
HEAD = f"<style>{STYLE}</style><script>{SCRIPT}</script>"


def mount(app: FastAPI, place: Place) -> None:
    """Put the pages at `/` of an application, below whatever routes it has already; a guard stands before it."""
    site = Site(place)
    pulse = Pulse(site)

    def root(request: Request) -> None:
        ui.add_head_html(HEAD)
        frame(site, pulse, Guest(place, request))

    # The bar that shows requests is no page's business, and nobody told a screen reader what it is.
    nice.config.quasar_config["loadingBar"] = {"skipHijack": True}
    # Annotations are texts in this file, and FastAPI looks for the real thing.
    root.__annotations__ = {"request": Request}
    ui.run_with(
        app,
        root=root,
        title="trueup",
        favicon=ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=30.0,
        message_history_length=100,
        show_welcome_message=False,
    )
