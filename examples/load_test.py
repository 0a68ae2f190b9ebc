"""How many annotators can one server carry, and what becomes of it when there are too many?

    python examples/load_test.py --annotators 1 5 10 20 50 --seconds 60 --beside none bulk training
    python examples/load_test.py --flood
    python examples/load_test.py --soak 30 --annotators 10 --beside bulk

starts a real `labelpilot serve` on this machine, with a data folder of its own and small models of
the tests (`--model-dir`: yours; `--random-mobile-sam`: as slow as a real one), and a stand-in for
Label Studio that serves a new picture for each task. `--url` asks a server that runs already; it
gets its pictures within the requests. Annotators open a task, look, click one to four times, look
each time, and submit; `--think` is how long they look, in seconds. Beside them, in turn: nothing
else; a person who retrieves predictions, 50 tasks at a time; the process that trains, with the
priority that it has in the server. Webhooks, /setup and /health are timed by a process of its own,
as Label Studio is one.

`--flood`: clicks on new pictures, many more than the queue takes, from callers who wait and then
from callers who hang up; when that is over, the time until ordinary clicks are as fast as before.
`--soak`: memory every ten seconds, and how it grows over the second half.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from click_benchmark import labelpilot, random_mobile_sam
from load_annotators import (
    LABEL,
    SIZE,
    Book,
    Caller,
    Photos,
    Place,
    annotate,
    retrieve,
    serving,
)
from rich.console import Console
from rich.table import Table

from backends.micro.training import Material, Request, train
from micro_models.regions import Box, Region

Json = dict[str, Any]
TESTS = Path(__file__).parents[1] / "tests"
BESIDE = ("none", "bulk", "training")
KINDS = ("first click", "click", "open", "webhook", "health", "setup", "bulk")
SAMPLE_S, SOAK_SAMPLE_S = 0.5, 10.0
FLOOD_CALLERS, IMPATIENCE_S = 300, 1.0
# A click is at its usual speed again when it takes no longer than this many times the slowest of
# those before the flood, and three in a row do.
USUAL_FACTOR, IN_A_ROW, GIVE_UP_S = 1.5, 3, 120.0
console = Console(width=140)


class Server:
    """A running server, and what this script knows of it."""

    def __init__(self, url: str, place: Place) -> None:
        self.url, self.place, self.numbers = url, place, itertools.count(1)

    async def gauges(self, client: httpx.AsyncClient) -> dict[str, float]:
        """Clicks and others in hand or waiting, and resident memory in megabytes."""
        text = (await client.get("/metrics")).text
        found = dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {
            "clicks": float(found["labelpilot_clicks_pending"]),
            "bulk": float(found["labelpilot_bulk_pending"]),
            "memory_mb": float(found["process_resident_memory_bytes"]) / 2**20,
        }


async def under_load(
    server: Server, people: int, *, seconds: float, think_s: float, bulk: bool, every_s: float
) -> tuple[Book, list[tuple[float, dict[str, float]]]]:
    """So many annotators for so long: their requests, and gauges with the time in seconds."""
    book, samples = Book(), []
    began = time.monotonic()
    async with Caller(server.url, book) as caller:
        seeds = np.random.SeedSequence(people).spawn(people)
        work = [
            annotate(
                server.place,
                caller,
                server.numbers,
                rng=np.random.default_rng(seed),
                think_s=think_s,
            )
            for seed in seeds
        ]
        if bulk:
            work.append(retrieve(server.place, caller, server.numbers))
        tasks = [asyncio.create_task(one) for one in work]
        while time.monotonic() - began < seconds:
            await asyncio.sleep(every_s)
            with suppress(httpx.TransportError, KeyError):
                samples.append((time.monotonic() - began, await server.gauges(caller.client)))
            for task in tasks:
                if task.done():
                    task.result()  # what went wrong in this script
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return book, samples


def level(server: Server, people: int, beside: str, options: argparse.Namespace) -> Json:
    """One line of the table."""
    with training_beside() if beside == "training" else nullcontext():
        watching = Aside(_watch, server)
        book, samples = asyncio.run(
            under_load(
                server,
                people,
                seconds=options.seconds,
                think_s=options.think,
                bulk=beside == "bulk",
                every_s=SAMPLE_S,
            )
        )
        watched = watching.end()
    most = {
        name: max((one[name] for _, one in samples), default=0.0) for name in ("clicks", "bulk")
    }
    return {
        "annotators": people,
        "beside": beside,
        "requests": {**book.figures(), **watched.figures()},
        "most_clicks_pending": most["clicks"],
        "most_bulk_pending": most["bulk"],
        "memory_mb": round(samples[-1][1]["memory_mb"], 1) if samples else None,
        "refused_without_retry_after": book.refused_without_advice + watched.refused_without_advice,
        "load_average": round(os.getloadavg()[0], 2),
    }


def soak(server: Server, options: argparse.Namespace) -> Json:
    """Memory over minutes; its slope in megabytes per hour over the second half."""
    people = options.annotators[-1]
    beside = options.beside[-1]
    with training_beside() if beside == "training" else nullcontext():
        book, samples = asyncio.run(
            under_load(
                server,
                people,
                seconds=options.soak * 60,
                think_s=options.think,
                bulk=beside == "bulk",
                every_s=min(SOAK_SAMPLE_S, options.soak * 6),
            )
        )
    points = [(at_s, gauges["memory_mb"]) for at_s, gauges in samples]
    return {
        "minutes": options.soak,
        "annotators": people,
        "beside": beside,
        "memory_mb": [(round(at_s), round(memory, 1)) for at_s, memory in points],
        "slope_mb_per_hour": round(slope(points[len(points) // 2 :]) * 3600, 2),
        "requests": book.figures(),
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through (x, y) with the least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    x, y = np.array(points).T
    return float(np.polyfit(x - x.mean(), y, 1)[0])


async def flood(server: Server, *, seconds: float, patient: bool) -> Json:
    """Many more clicks than the queue takes, and the time until all is as before."""
    usual, after = Book(), Book()
    async with Caller(server.url, usual) as person, Caller(server.url, after) as caller:
        number = next(server.numbers)
        await person.post("first", "/predict", server.place.click(number, [(50.0, 50.0)]))
        for x in range(20):
            body = server.place.click(number, [(20.0 + x, 50.0)])
            await person.post("click", "/predict", body)
        slowest_s = max(usual.taken_s["click"])
        watching = await asyncio.to_thread(Aside, _watch, server)
        crowd = await asyncio.to_thread(
            Aside, _patient_crowd if patient else _impatient_crowd, server
        )
        await asyncio.sleep(seconds)
        crowd.stop()
        if not patient:
            await asyncio.to_thread(crowd.end)
        # Those who wait do so still, and what is queued for them comes first.
        recovered_s = await _recovery(server, caller, number, USUAL_FACTOR * slowest_s)
        books = [await asyncio.to_thread(one.end) for one in (crowd, watching)] + [after]
    return {
        "callers": FLOOD_CALLERS,
        "patient": patient,
        "usual_click": usual.figures()["click"],
        "during": {kind: one for book in books for kind, one in book.figures().items()},
        "refused_without_retry_after": sum(book.refused_without_advice for book in books),
        "recovered_s": recovered_s,
    }


class Aside:
    """Callers in a process of their own, so that those who are timed do not wait for each other.

    `work` is a function of this module: of a server, a caller, and an event that ends it.
    """

    def __init__(self, work: Callable[..., Coroutine[Any, Any, None]], server: Server) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._over = spawn.Event()
        self._book: Book | None = None
        self._here, there = spawn.Pipe()
        # Its pictures are others than those of this process.
        theirs = (server.url, server.place, 1_000_000 * next(server.numbers))
        self._process = spawn.Process(target=_aside, args=(work, *theirs, self._over, there))
        self._process.start()
        self._here.recv()  # it has imported what it needs

    def stop(self) -> None:
        """Nobody asks any more; some still wait for an answer."""
        self._over.set()

    def end(self) -> Book:
        """What they met, once nobody waits."""
        self.stop()
        if self._book is None:
            self._book = self._here.recv()
            self._process.join()
        return self._book


def _aside(
    work: Callable[..., Coroutine[Any, Any, None]],
    url: str,
    place: Place,
    first: int,
    over: Any,
    back: Any,
) -> None:
    server, book = Server(url, place), Book()
    server.numbers = itertools.count(first)

    async def all_work() -> None:
        async with Caller(url, book) as caller:
            await work(server, caller, over)

    back.send("ready")
    asyncio.run(all_work())
    back.send(book)


async def _patient_crowd(server: Server, caller: Caller, over: Any) -> None:
    await asyncio.gather(*(_insist(server, caller, over, None) for _ in range(FLOOD_CALLERS)))


async def _impatient_crowd(server: Server, caller: Caller, over: Any) -> None:
    await asyncio.gather(
        *(_insist(server, caller, over, IMPATIENCE_S) for _ in range(FLOOD_CALLERS))
    )


async def _insist(server: Server, caller: Caller, over: Any, patience_s: float | None) -> None:
    """Click on new pictures until it is over, however often that is refused."""
    while not over.is_set():
        body = server.place.click(next(server.numbers), [(50.0, 50.0)])
        with suppress(TimeoutError):
            await asyncio.wait_for(caller.post("flood", "/predict", body), patience_s)
        await asyncio.sleep(0.1)


async def _watch(server: Server, caller: Caller, over: Any) -> None:
    """What has to be answered whatever happens."""
    while not over.is_set():
        await server.place.set_up(caller)
        await server.place.submit(caller, 1, [])
        await asyncio.sleep(0.1)


async def _recovery(server: Server, caller: Caller, number: int, usual_s: float) -> float | None:
    """Seconds until the first of a few ordinary clicks in a row was sent that were fast."""
    began = time.monotonic()
    fast_since, fast = began, 0
    for turn in itertools.count():
        sent = time.monotonic()
        if sent - began > GIVE_UP_S:
            return None
        body = server.place.click(number, [(20.0 + turn % 60, 60.0)])
        answer = await caller.post("click after", "/predict", body)
        took = time.monotonic() - sent
        if answer is None or answer.status_code != 200 or took > usual_s:
            fast = 0
            await asyncio.sleep(0.05)
            continue
        fast_since, fast = (time.monotonic() if fast == 0 else fast_since), fast + 1
        if fast == IN_A_ROW:
            return round(fast_since - began, 2)
    return None


@contextmanager
def training_beside() -> Iterator[None]:
    """Trains one micro-model after the other, in the process that the server would start."""
    stopping = threading.Event()
    photos = Photos((640, 360))

    class Over(Exception):
        pass

    def go_on() -> None:
        if stopping.is_set():
            raise Over

    def keep_training(folder: Path) -> None:
        examples = []
        for number in range(12):
            picture = folder / f"{number}.jpg"
            picture.write_bytes(photos.jpeg(number))
            box = Box(100 + 10 * number, 80, 220 + 10 * number, 200)
            examples.append(Material(number, picture, (Region(LABEL, box),)))
        for turn in itertools.count():
            request = Request(tuple(examples), (), budget_s=45, seed=turn)
            with suppress(Over):
                train(
                    request,
                    folder / str(turn),
                    told=lambda _: None,
                    go_on=go_on,
                    on_better=lambda _: None,
                )
            if stopping.is_set():
                return

    with tempfile.TemporaryDirectory() as name:
        thread = threading.Thread(target=keep_training, args=(Path(name),))
        thread.start()
        time.sleep(3)  # until it has imported what it needs
        try:
            yield
        finally:
            stopping.set()
            thread.join()


@contextmanager
def running(options: argparse.Namespace) -> Iterator[Server]:
    """The server that is asked: the one of `--url`, else one of this script."""
    photos = Photos(SIZE)
    if options.url:
        yield Server(options.url.rstrip("/"), Place(photos.data_uri))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        studio = stack.enter_context(serving(photos, studio=True))
        models = options.model_dir or some_models(folder / "models", options.random_mobile_sam)
        settings = {"model_dir": str(models), "download_weights": "false", "blind_share": "0"}
        os.environ.setdefault("LABEL_STUDIO_API_KEY", "any")  # the stand-in takes whatever comes
        client = stack.enter_context(labelpilot(folder / "data", studio, **settings))
        yield Server(str(client.base_url).rstrip("/"), Place("/{}.jpg".format))


def some_models(folder: Path, random_sam: bool) -> Path:  # noqa: FBT001 - of this script alone
    """A model folder with what the tests have, or a MobileSAM that has learned nothing."""
    folder.mkdir()
    if random_sam:
        random_mobile_sam(folder / "mobile_sam.pt")
    else:
        shutil.copy(TESTS / "small_sam.pt", folder / "mobile_sam.pt")
    for kind, name in (("detect", "yolo11n.pt"), ("segment", "yolo11n-seg.pt")):
        shutil.copy(TESTS / "small_yolo" / f"{kind}.pt", folder / name)
    return folder


def show_level(row: Json) -> None:
    """Print a table of one run."""
    title = (
        f"{row['annotators']} annotators, beside: {row['beside']}; most clicks in hand or waiting "
        f"{row['most_clicks_pending']:.0f}, others {row['most_bulk_pending']:.0f}; memory "
        f"{row['memory_mb']} MB; load average {row['load_average']}"
    )
    show(title, row["requests"])


def show(title: str, requests: dict[str, Json]) -> None:
    """Print figures by kind of request."""
    table = Table(title=title, title_justify="left")
    for name in ("ms", "count", "errors", "503", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="left" if name == "ms" else "right")
    for kind in sorted(requests, key=lambda one: KINDS.index(one) if one in KINDS else 99):
        one = requests[kind]
        times = [
            "" if one[p] is None else f"{one[p]:.0f}"
            for p in ("p50_ms", "p95_ms", "p99_ms", "max_ms")
        ]
        table.add_row(kind, str(one["count"]), str(one["errors"]), str(one["refused"]), *times)
    console.print(table)


def show_ratios(rows: list[Json]) -> None:
    """Print how much slower clicks are beside other work, by number of annotators."""
    alone = {row["annotators"]: row for row in rows if row["beside"] == "none"}
    for row in rows:
        base = alone.get(row["annotators"])
        if base is None or row is base:
            continue
        for kind in ("first click", "click"):
            one, other = row["requests"].get(kind), base["requests"].get(kind)
            if one and other and one["p95_ms"] and other["p95_ms"]:
                p50, p95 = (one[p] / other[p] for p in ("p50_ms", "p95_ms"))
                row.setdefault("times_as_long_as_alone", {})[kind] = {
                    "p50": round(p50, 2),
                    "p95": round(p95, 2),
                }
                console.print(
                    f"{row['annotators']} annotators, {kind}, beside {row['beside']}: p50 {p50:.2f}"
                    f" and p95 {p95:.2f} times as long as alone"
                )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--annotators", type=int, nargs="+", default=[1, 5, 10, 20, 50])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--think", type=float, default=1.5, help="seconds that people look")
    parser.add_argument("--beside", nargs="+", choices=BESIDE, default=["none"])
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--model-dir", type=Path, help="checkpoints for the server it starts")
    parser.add_argument("--random-mobile-sam", action="store_true", help="as slow as a real one")
    parser.add_argument("--flood", action="store_true", help="only this")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only this")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for and print it."""
    options = arguments()
    found: Json = {}
    with running(options) as server:
        # The first of a server loads what later ones find.
        asyncio.run(under_load(server, 1, seconds=2, think_s=0.1, bulk=True, every_s=1))
        if options.soak:
            found["soak"] = one = soak(server, options)
            show(f"{one['minutes']:g} minutes, {one['annotators']} annotators", one["requests"])
            start, end = one["memory_mb"][0][1], one["memory_mb"][-1][1]
            console.print(
                f"memory: {start} MB to {end} MB, second half "
                f"{one['slope_mb_per_hour']} MB per hour"
            )
        elif options.flood:
            found["floods"] = [
                asyncio.run(flood(server, seconds=options.seconds, patient=patient))
                for patient in (True, False)
            ]
            for one in found["floods"]:
                who = "wait" if one["patient"] else "hang up"
                show(f"flood by {one['callers']} callers who {who}", one["during"])
                console.print(
                    f"usual click: {one['usual_click']}; 503 without Retry-After: "
                    f"{one['refused_without_retry_after']}; recovered after "
                    f"{one['recovered_s']} s"
                )
        else:
            found["load"] = []
            for people, beside in itertools.product(options.annotators, options.beside):
                found["load"].append(level(server, people, beside, options))
                show_level(found["load"][-1])
            show_ratios(found["load"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
