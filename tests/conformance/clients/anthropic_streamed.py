"""Asks for a message twice, whole and as a stream, and prints both: argument 1 is the address."""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

ASKED: Any = {
    "model": "m",
    "max_tokens": 40,
    "messages": [{"role": "user", "content": "?"}],
}


def main() -> None:
    with anthropic.Anthropic(base_url=sys.argv[1], api_key="key", max_retries=0) as client:
        whole = client.messages.create(**ASKED)
        with client.messages.stream(**ASKED) as stream:
            text = "".join(stream.text_stream)
            made = stream.get_final_message()
    said = {"whole": plain(whole), "streamed": plain(made), "text": text}
    sys.stdout.write(json.dumps(said))


def plain(message: Any) -> Any:
    return message.model_dump(mode="json", exclude_none=True)


if __name__ == "__main__":
    main()
