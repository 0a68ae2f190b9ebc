"""Takes the README's screenshot in a running demo.

    python -m tests.e2e.screenshot docs/images/click.png

The photo is scikit-image's launch of DSCOVR (SpaceX, public domain).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from tests.e2e.browser import CHROMIUM, CHROMIUM_ARGS, Editor, log_in

# The page without its task list.
EDITOR = {"x": 239, "y": 48, "width": 1041, "height": 752}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--demo", type=Path, default=Path(".demo"))
    parser.add_argument("--photo", default="rocket.jpg")
    parser.add_argument("--at", nargs=2, type=float, default=(50.0, 50.0), metavar="PERCENT")
    options = parser.parse_args()
    account = json.loads((options.demo / "account.json").read_text())
    with httpx.Client(
        base_url=options.url, headers={"Authorization": f"Token {account['token']}"}
    ) as api:
        tasks = api.get("/api/tasks", params={"project": 1, "page_size": 50}).json()["tasks"]
    task = next(each for each in tasks if each["data"]["image"].endswith(f"-{options.photo}"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        log_in(context, options.url, account["email"], account["password"])
        editor = Editor(context.new_page(), options.url)
        editor.open(1, task["id"])
        with editor.answered():
            editor.click(*options.at, "Object")
        editor.page.mouse.move(640, 20)
        editor.page.wait_for_timeout(800)
        editor.page.screenshot(path=options.file, clip=EDITOR)
        browser.close()


if __name__ == "__main__":
    main()
