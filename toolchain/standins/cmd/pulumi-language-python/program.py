"""Runs one Pulumi program; started by the language host, with its settings as JSON in the only argument.

Exit codes: 0, the program ended; 32, it failed and the user has been told why; 1, it failed otherwise.
"""

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MESSAGE_SHOWN = 32

try:
    import pulumi
    import pulumi.runtime
except ImportError:
    traceback.print_exc()
    print(f"The Pulumi SDK is missing from {sys.prefix}: install the requirements there.", file=sys.stderr)
    sys.exit(1)


def user_part(error: BaseException, program: Path) -> str:
    """The traceback from the program's first frame on; the frames above it are our own."""
    folder = program if program.is_dir() else program.parent

    def is_users(filename: str) -> bool:
        return filename.startswith(f"{folder}{os.sep}") and not filename.startswith(sys.prefix + os.sep)

    start = error.__traceback__
    while start is not None and not is_users(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return "".join(traceback.format_exception(type(error), error, start or error.__traceback__))


def main() -> int:
    given = json.loads(sys.argv[1])
    program = Path.cwd() / given.pop("program")
    sys.argv = [str(program), *(given.pop("args") or [])]

    secret_keys = pulumi.runtime.get_config_secret_keys_env()
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), secret_keys)
    settings = pulumi.runtime.Settings(**given)
    pulumi.runtime.configure(settings)

    if program.is_dir() and not (program / "__main__.py").exists():
        pulumi.log.error(f"no __main__.py in {program}")
        return MESSAGE_SHOWN

    # A program that fails leaves futures that nobody waits for; asyncio's complaints about them help no one.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pool = ThreadPoolExecutor(max_workers=4 * max(settings.parallel or 1, 1))
    loop.set_default_executor(pool)

    def run() -> None:
        runpy.run_path(str(program), run_name="__main__")

    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(run))
        return 0
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception as error:  # whatever the program raises is shown to its author
        pulumi.log.error("Program failed with an unhandled exception:\n" + user_part(error, program))
        return MESSAGE_SHOWN
    finally:
        pool.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()


sys.exit(main())
