"""Do a study of two arms in processes, or with Ray; stopped by a signal it ends with the signal's exit code."""

from __future__ import annotations

import json
import sys

from auxlearn.errors import Interrupted
from auxlearn.studies.running import study
from auxlearn.testing import plugin as tiny

if __name__ == "__main__":
    try:
        executor = sys.argv[4] if len(sys.argv) > 4 else "local"
        study(
            json.loads(sys.argv[1]),
            out=sys.argv[2],
            jobs=int(sys.argv[3]),
            executor=executor,
            plugins=[tiny],
            quiet=False,
        )
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.code)
