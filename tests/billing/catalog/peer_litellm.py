"""Run by LiteLLM's own Python: prices usages by its cost functions. JSON lines in, JSON lines out; knows nothing of us.

A line in is {"model", "provider", "usage": Usage's arguments}; a line out the sum in USD as text, or {"error"}.
"""

import json
import sys

import litellm
from litellm import cost_per_token
from litellm.types.utils import Usage


def main() -> None:
    """One answer a line, in order."""
    litellm.suppress_debug_info = True
    answers, sys.stdout = sys.stdout, sys.stderr  # it prints advice
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            parts = cost_per_token(
                model=asked["model"], custom_llm_provider=asked["provider"], usage_object=Usage(**asked["usage"])
            )
            answer: object = repr(sum(parts))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
