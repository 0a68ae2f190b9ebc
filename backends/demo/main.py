"""Label Studio and labelpilot side by side on this machine, with a sample project to click in.

Everything lies in one folder and is used again at the next start. Both servers listen on 127.0.0.1
only. Since 1.23 Label Studio refuses backends on private addresses; the two settings that lift
this are given to this Label Studio alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from backends.demo.project import (
    Account,
    connect_project,
    find_photos,
    load_account,
    prepare_project,
)
from backends.demo.servers import (
    HOST,
    DemoFailed,
    Server,
    choose_port,
    only_one,
    stopped_by_signals,
)
from backends.settings import Settings


def run_demo(
    *,
    folder: Path = Path(".demo"),
    label_studio: Path = Path(".venv-label-studio/bin/label-studio"),
    port: int = 8080,
    backend_port: int = 9090,
    reset: bool = False,
    open_browser: bool = True,
    console: Console | None = None,
) -> None:
    """Start both, make or find the sample project, and stay until Ctrl-C or SIGTERM.

    A port in use gives way to the next free one. `reset` first deletes what earlier runs kept.
    Errors: `DemoFailed` with the end of the log of the part that failed.
    """
    console = console or Console()
    folder, label_studio = folder.resolve(), label_studio.absolute()
    if not label_studio.is_file():
        raise DemoFailed("Label Studio is not installed", advice="make install")
    photos = find_photos()
    with stopped_by_signals(), ExitStack() as stack:
        stack.enter_context(only_one(folder))
        if reset:
            _empty(folder)
        used = (folder / "label-studio").exists()
        (folder / "label-studio").mkdir(exist_ok=True)
        account = load_account(folder / "account.json")
        with _progress(console) as progress:
            studio = Server(
                "Label Studio",
                folder / "label-studio.log",
                f"http://{HOST}:{choose_port(port, progress)}",
            )
            pilot = Server(
                "labelpilot",
                folder / "labelpilot.log",
                f"http://{HOST}:{choose_port(backend_port, progress, taken=studio.port)}",
            )
            stack.enter_context(studio.running(*_label_studio(label_studio, studio, account)))
            stack.enter_context(pilot.running(*_labelpilot(pilot, studio.url, account)))
            studio.wait(progress, "" if used else "makes its database, about half a minute")
            pilot.wait(progress)
            project = prepare_project(studio.url, account, photos, progress)
            connect_project(studio.url, pilot.url, account, project)
        console.print(_panel(studio.url, pilot.url, account, project))
        if open_browser and _has_display():
            webbrowser.open(f"{studio.url}/projects/{project}/data")
        while True:
            for server in (studio, pilot):
                server.check()
            time.sleep(0.5)


def _empty(folder: Path) -> None:
    for name in ("label-studio", "labelpilot"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "account.json").unlink(missing_ok=True)


def _label_studio(
    program: Path, server: Server, account: Account
) -> tuple[list[str], dict[str, str]]:
    data = server.log.parent / "label-studio"
    command = [str(program), "start", "--no-browser", "--internal-host", HOST]
    command += ["--port", str(server.port), "--enable-legacy-api-token"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LABEL_STUDIO_")}
    environment |= {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_HOST": server.url,
        # Not as arguments: everybody on this machine can read those.
        "LABEL_STUDIO_USERNAME": account.email,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "DJANGO_DB": "sqlite",
        "HOME": str(data),
        # Without these two it refuses a backend on 127.0.0.1. Do not copy them to a server that
        # strangers can reach: they let its users make it open any address of its own network.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "FEATURE_FLAGS_OFFLINE": "true",
        "NO_PROXY": HOST,
    }
    return command, environment


def _labelpilot(server: Server, studio: str, account: Account) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "backends.cli", "serve", "--host", HOST]
    environment = os.environ | {
        "LABELPILOT_DATA_DIR": str(server.log.parent / "labelpilot"),
        # Checkpoints that were fetched before are used here too.
        "LABELPILOT_MODEL_DIR": str(Settings().model_path.resolve()),
        "LABEL_STUDIO_URL": studio,
        "LABEL_STUDIO_API_KEY": account.token,
        "NO_PROXY": HOST,
    }
    return [*command, "--port", str(server.port)], environment


def _panel(studio: str, pilot: str, account: Account, project: int) -> Panel:
    text = (
        f"[bold]{studio}/projects/{project}/data[/bold]\n"
        f"email     {account.email}\npassword  {account.password}\n\n"
        "Open a photo, switch on [bold]Auto-Annotation[/bold] below it, choose a label under\n"
        "the photo and a smart tool at the right, then click, or drag a box.\n"
        "With [bold]Auto accept[/bold] on, each mask becomes a region at once.\n\n"
        f"Status of the server: {pilot}\nCtrl-C stops both."
    )
    return Panel(text, title="labelpilot demo", expand=False, padding=(1, 2))


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"))
    return Progress(*columns, BarColumn(bar_width=20), MofNCompleteColumn(), console=console)


def _has_display() -> bool:
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
