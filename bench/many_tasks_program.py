# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Style pictures by a Luigi task for each, and tell when Luigi was given them.

`python -m bench.many_tasks_program --folder F --count N --model M`: pictures F/00000.jpg and so on.
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    """Do as `python -m pipeline -i ... --publish` does after its look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()

    from csci_utils.luigi.run import build
    from pipeline import settings
    from pipeline.plan import StyleJob, tasks_of
    from pipeline.tasks.publish import UploadStylized

    images = tuple(f"{options.folder}/{number:05d}.jpg" for number in range(options.count))
    with settings.use(settings.read_settings(device="cpu")):
        begun_s = time.monotonic()
        tasks = [each.clone(UploadStylized) for each in tasks_of(StyleJob(images=images, models=(options.model,)))]
        outcome = build(tasks, log_level="ERROR")
    if outcome.exit_status:
        raise SystemExit(f"{len(outcome.failures)} tasks failed: {next(iter(outcome.failures.values()), None)}")
    print(json.dumps({"begun_s": begun_s, "tasks_s": time.monotonic() - begun_s}), flush=True)


if __name__ == "__main__":
    main()
