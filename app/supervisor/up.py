"""`darkroom up` from top to bottom."""

import asyncio
import json
import shlex
import socket
from collections.abc import Callable
from contextlib import closing

from app.jobs.failures import JobsError
from app.jobs.settings import Settings
from app.jobs.store import Store, migrate, open_store
from app.supervisor import programs
from app.supervisor.errors import UpError
from app.supervisor.launcher import Launcher
from app.supervisor.preflight import check_what_is_named, data_folder, listen, refuse_strangers


def up(settings: Settings, say: Callable[[str], None], complain: Callable[[str], None]) -> int:
    """Start everything, stay until a signal asks for the end, end everything.  Returns the exit status.

    `say` is told what happens, one event a call; `complain` why it came to nothing.
    """
    try:
        return asyncio.run(_up(settings, say))
    except (UpError, JobsError) as error:
        complain(str(error))
        return 1


async def _up(settings: Settings, say: Callable[[str], None]) -> int:
    check_what_is_named(settings)
    refuse_strangers(settings)
    with data_folder(settings.data_dir), closing(open_store(settings)) as store:
        # The listener is closed before the children end: who comes too late is refused, not kept waiting.
        async with Launcher(say) as launcher:
            with listen(settings.host, settings.port, launcher.say) as listener:
                launcher.say(f"starting, with {settings.data_dir}; the models take a few seconds")
                if settings.redis_url is None:
                    await launcher.start(programs.valkey(settings))
                migrate(settings)
                await launcher.start(programs.worker(settings, store), programs.api(settings, listener))
                launcher.say(_welcome(settings, store, url_of(settings.host, listener)))
                await launcher.until_asked_to_stop()
    return launcher.exit_status


def url_of(host: str, listener: socket.socket) -> str:
    """The address to type into a browser."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(settings: Settings, store: Store, url: str) -> str:
    served = {entry.name: entry for entry in store.catalogue()}.get(store.ledger.default_model())
    prompt = served.examples[0] if served and served.examples else "a red ball on a green meadow"
    wish = shlex.quote(json.dumps({"task": "text_to_image", "prompt": prompt}))
    return f"""
Darkroom is at {url}

    curl -X POST {url}/api/v1/jobs -H 'Content-Type: application/json' \\
         -d {wish}

Pictures and logs are in {settings.data_dir}. Ctrl-C stops it.
"""
