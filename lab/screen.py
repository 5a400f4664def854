"""What the demo prints: the answers as they come, and what a person can type next."""

from __future__ import annotations

import sys
from collections.abc import Collection

from lab import engine, more_models
from lab.question import QUESTION, Answer
from lab.service import Service
from lab.streaming import REQUEST, Streamed

#: What each hop of an answer's Server-Timing is.
HOPS = {
    "gateway": "token, route, headers",
    "queue": "waiting for a turn at Globus",
    "task": "Globus Compute, there and back",
    "site": "the function on the cluster",
    "engine": "vLLM",
}


def show_answer(answer: Answer) -> None:
    """Print the answer that a Globus Compute task carried, and where its time went."""
    print(f"\n  you    {QUESTION}\n  model  {answer.text}\n")
    print(f"  {answer.model}, {answer.tokens} tokens, request {answer.request_id}")
    print(f"  x-hotnode-transport: {answer.transport}, Globus Compute task {answer.task_id}\n")
    print("  where the time went (ms)")
    for name, meaning in HOPS.items():
        print(f"    {name:8} {answer.hops.get(name, 0.0):8.1f}   {meaning}")
    print(flush=True)


def begin_stream() -> None:
    """Print what is asked for; the answer's pieces follow."""
    print(f"  you    {REQUEST}\n  model  ", end="", flush=True)


def show_piece(piece: str) -> None:
    """Print a piece of a streamed answer, at once."""
    print(piece, end="", flush=True)


def end_stream(streamed: Streamed) -> None:
    """Print how the pieces came."""
    print(
        f"""

  streamed, request {streamed.request_id}
  x-hotnode-transport: {streamed.transport}, no task: the site's relay holds a WebSocket
  first token after {streamed.first_s * 1000:.0f} ms, {streamed.pieces} pieces in \
{streamed.whole_s * 1000:.0f} ms
""",
        flush=True,
    )


def invite(running: Service, person: str) -> None:
    """Print how to use the chat."""
    token = running.write_token_command(person)
    body = (
        f'{{"model": "{engine.MODEL_ID}", "stream": true,'
        f' "messages": [{{"role": "user", "content": "{REQUEST}"}}]}}'
    )
    print(
        f"""  It is up. The base URL is  {running.base_url}
  By Globus Compute alone:   {running.tasks_url}
  The API's own documentation:  {running.gateway.url}/docs

  with curl, as a stream; without "stream": true the answer comes in one piece:

curl -sN {running.base_url}/chat/completions \\
    -H "Authorization: Bearer $({token})" -H "Content-Type: application/json" \\
    -d '{body}'

  with Python:

{sys.executable} - <<'END'
import subprocess
from openai import OpenAI
token = subprocess.check_output(["{token}"], text=True).strip()
client = OpenAI(base_url="{running.base_url}", api_key=token)
for chunk in client.chat.completions.create(
    model="{engine.MODEL_ID}", stream=True,
    messages=[{{"role": "user", "content": "What is a login node?"}}]):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
END

  Ctrl-C stops everything. More models are on their way.
""",
        flush=True,
    )


def invite_further(running: Service, ready: Collection[str]) -> None:
    """Print how to use the further models."""
    token = running.folder / "token"
    base = f"{running.gateway.url}/v1"
    left_out = [name for name in more_models.ALL if name not in ready]
    up = "Everything is up" if not left_out else f"All but {' and '.join(left_out)} is up"
    print(
        f"""  {up}. Below /v1 the gateway finds the cluster by itself:

curl -s {base}/models -H "Authorization: Bearer $({token})"
"""
    )
    if more_models.LISTENER in ready:
        sound = more_models.write_sound(running.folder)
        print(
            f"""curl -s {base}/audio/transcriptions -H "Authorization: Bearer $({token})" \\
    -F model={engine.Model.named(more_models.LISTENER).id} -F file=@{sound}
"""
        )
    print("  Ctrl-C stops everything.\n", flush=True)
