# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the simulator."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from .clock import Clock
from .estate import load
from .render import BASE_PATH
from .server import Frontend
from .tls import server_context
from .world import World

if TYPE_CHECKING:
    from .bed_storage import BedStorage

USER, PASSWORD = "admin", "Welcome1"
TICK = 0.02


def parser() -> argparse.ArgumentParser:
    """The options."""
    parse = argparse.ArgumentParser(prog="python -m simulator", description="Simulator of Oracle VM Manager 3.4")
    parse.add_argument("--port", type=int, default=7002, help="0: any free port (default 7002)")
    parse.add_argument("--estate", default="sample", help="name of a built-in estate, or path of a file")
    parse.add_argument("--state-dir", type=Path, help="keep everything here (default: a directory removed at exit)")
    parse.add_argument(
        "--images-cache", type=Path, help="keep built disk images here (default: in the state directory)"
    )
    parse.add_argument("--bed", type=Path, help="what `make bed` printed: the first OCFS2 repositories lie there")
    parse.add_argument("--job-seconds", type=float, default=0.2, help="simulated duration of a job (default 0.2)")
    parse.add_argument("--shutdown-seconds", type=float, help="time a guest takes to shut down (default two jobs)")
    parse.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="simulated seconds per real second (default 1; 0: time is pushed by the control interface)",
    )
    parse.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="set a switch; may be repeated"
    )
    parse.add_argument("--read-only", action="store_true", help="refuse every writing request")
    parse.add_argument("--user", default=USER)
    parse.add_argument("--password", default=PASSWORD)
    return parse


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Exit code 2 for wrong arguments, 1 if it cannot start."""
    parse = parser()
    options = parse.parse_args(arguments)
    # Until the server takes the signals over, they must not keep the temporary directory from being removed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    with ExitStack() as stack:
        if options.state_dir is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovm-simulator-")))
        else:
            state = options.state_dir.absolute()
            state.mkdir(parents=True, exist_ok=True)
            if (state / "OVS").exists():
                parse.error(
                    f"{state} holds the storage repositories of another run: remove them or choose another place"
                )
        clock = Clock(options.speed)
        world = World(state, clock=clock, job_seconds=options.job_seconds, shutdown_seconds=options.shutdown_seconds)
        try:
            for item in options.switch:
                name, equals, value = item.partition("=")
                if not equals:
                    raise ValueError(f"--switch {item}: NAME=VALUE expected")
                world.switches.set(name, value)
            bed = stack.enter_context(_bed(options.bed, world)) if options.bed else None
            load(world, options.estate, options.images_cache or state / "images", bed)
        except ValueError as problem:
            parse.error(str(problem))
        except (RuntimeError, OSError) as problem:
            print(f"simulator: {problem}", file=sys.stderr)
            return 1
        world.read_only = options.read_only
        return asyncio.run(_serve(world, options, state))


def _bed(file: Path, world: World) -> BedStorage:
    # Only this needs the bed's code and programs.
    from .bed_storage import BedStorage

    return BedStorage(json.loads(file.read_text(encoding="utf-8")), world.storage.root)


async def _serve(world: World, options: argparse.Namespace, state: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    frontend = Frontend(world, options.user, options.password)
    context, ca = server_context(state)
    runner = web.ServerRunner(web.Server(frontend.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, ssl_context=context, shutdown_timeout=1)
    try:
        await site.start()
    except OSError as problem:
        print(f"simulator: {problem}", file=sys.stderr)
        await runner.cleanup()
        return 1
    port = runner.addresses[0][1]
    base = f"https://127.0.0.1:{port}"
    ready = {
        "url": base + BASE_PATH,
        "user": options.user,
        "password": options.password,
        "ca": str(ca),
        "repositories": str(world.storage.root),
        "control": f"{base}/simulator",
        "state_dir": str(state),
    }
    print(json.dumps(ready), flush=True)
    ticker = asyncio.create_task(_tick(world))
    await stop.wait()
    ticker.cancel()
    await runner.cleanup()
    return 0


async def _tick(world: World) -> None:
    """Jobs go on even while nobody asks."""
    while True:
        await asyncio.sleep(TICK)
        world.settle()
