"""Plain HTTP: `requests`, and the standard library, with answers read as JSON and as text."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import report
import requests
from report import Offer


def body(offer: Offer) -> dict[str, Any]:
    question = {"role": "user", "content": "What is the capital of Norway?"}
    return {"model": offer["models"]["chat"], "messages": [question], "stream": False}


def headers(offer: Offer) -> dict[str, str]:
    return {"Authorization": f"Bearer {offer['key']}"}


def read_as_json(offer: Offer) -> object:
    url = f"{offer['base_url']}/chat/completions"
    answer = requests.post(url, headers=headers(offer), json=body(offer), timeout=(10, 300))
    answer.raise_for_status()
    return answer.json()["choices"][0]["message"]["content"]


def read_as_text(offer: Offer) -> object:
    """Ask for plain text and read the text, as users of a service that answers so do."""
    url = f"{offer['base_url']}/chat/completions"
    asked = headers(offer) | {"Accept": "text/plain", "Content-Type": "application/json"}
    answer = requests.post(url, headers=asked, data=json.dumps(body(offer)), timeout=(10, 300))
    answer.raise_for_status()
    return json.loads(answer.text)["choices"][0]["message"]["content"]


def standard_library(offer: Offer) -> object:
    request = urllib.request.Request(  # noqa: S310 - our own gateway
        f"{offer['base_url']}/chat/completions",
        data=json.dumps(body(offer)).encode(),
        headers=headers(offer),
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - our own gateway
        return json.loads(answer.read())["choices"][0]["message"]["content"]


def read_lines(offer: Offer) -> object:
    """Read a stream line by line with `requests`, as many scripts do."""
    url = f"{offer['base_url']}/chat/completions"
    asked = body(offer) | {"stream": True, "temperature": 0}
    with requests.post(
        url, headers=headers(offer), json=asked, stream=True, timeout=(10, 300)
    ) as answer:
        answer.raise_for_status()
        lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    return {
        "type": answer.headers["Content-Type"].partition(";")[0],
        "text": "".join(event["choices"][0]["delta"].get("content", "") for event in events),
        "last": lines[-1],
    }


def engine_routes(offer: Offer) -> object:
    """Return what routes answer that no SDK knows."""
    said = {}
    asked: dict[str, dict[str, Any]] = {
        "tokenize": {"model": "chat", "prompt": "Hello"},
        "detokenize": {"model": "chat", "tokens": [1, 2, 3]},
        "rerank": {"model": "reranker", "query": "music", "documents": ["a violin", "rain"]},
        "classify": {"model": "classifier", "input": ["rain and wind"]},
    }
    for route, fields in asked.items():
        fields |= {"model": offer["models"][fields["model"]]}
        url = f"{offer['base_url']}/{route}"
        answer = requests.post(url, headers=headers(offer), json=fields, timeout=(10, 300))
        said[route] = {"status": answer.status_code, "fields": sorted(answer.json())}
    return said


def refusal(offer: Offer) -> object:
    url = f"{offer['base_url']}/chat/completions"
    answer = requests.post(url, json=body(offer), timeout=(10, 300))
    return {
        "status": answer.status_code,
        "type": answer.headers["Content-Type"],
        "challenge": answer.headers["WWW-Authenticate"],
        "error": sorted(answer.json()["error"]),
    }


if __name__ == "__main__":
    report.run(read_as_json, read_as_text, read_lines, standard_library, engine_routes, refusal)
