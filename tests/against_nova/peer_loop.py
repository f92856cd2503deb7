"""What every peer does: a JSON question a line in, a JSON answer a line out. Imports nothing of this project.

Run by the peer's own Python with the path of a script and the script's own arguments. A question is ``[name,
arguments]``; ``name`` is one of the functions that the script lists as ``ASKS``. The answer is ``{"answer": ...}``, or
``{"error": class, "message": text}`` where the function raised. A script may import its neighbours, and what is here.
"""

import importlib
import json
import pathlib
import sys


def main(script, *arguments):
    script = pathlib.Path(script)
    sys.argv = [str(script), *arguments]
    # Before this folder, which may have a module of the same name.
    sys.path.insert(0, str(script.parent))
    # What nova itself says on stdout is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    asks = {one.__name__: one for one in importlib.import_module(script.stem).ASKS}
    for line in sys.stdin:
        name, values = json.loads(line)
        try:
            answer = {"answer": asks[name](*values)}
        except Exception as error:
            # An error that came over a wire is of a class that is made for it, beneath the one that is caught.
            caught = next(one for one in type(error).__mro__ if not one.__name__.endswith("_Remote"))
            answer = {"error": f"{caught.__module__}.{caught.__name__}", "message": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
