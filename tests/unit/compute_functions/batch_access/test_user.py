"""The mode `user`: what the person's process says is believed for that person's data alone."""

from __future__ import annotations

import ast
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions import processes
from compute_functions.batch_access import as_user, user, user_process
from compute_functions.batch_access.patience import AT_ONCE, LATER, Patience, Pauses
from compute_functions.batch_access.person import Person
from compute_functions.batch_access.user import UserAccess, UserFile, UserFolder
from compute_functions.batch_access.user_process import Run, UserProcess
from compute_functions.batch_settings import AccessMode, BatchSettings
from compute_functions.errors import (
    AccessRefused,
    BatchRefused,
    ConfigurationError,
    FilesAway,
    FilesTimedOut,
)
from compute_functions.site import VARIABLE, SiteDirectory
from tests.support.as_user import GROUP, OTHER, SYSTEMS_PYTHON, USER, require_switch, users_site
from tests.support.batch_orders import ALICES_ID, BatchSite, identities, lines, names, order
from tests.support.open_folder import owned

pytestmark = pytest.mark.row("C-42", "C-69")

PATIENT = Patience(seconds=30.0, bytes_per_s=1 << 20)
HASTY = Patience(seconds=0.4, bytes_per_s=1 << 30)
#: Who owns the process, and may put another one in its place.
EVIL = USER


@contextmanager
def same_user() -> Iterator[UserProcess]:
    """Lend the real program, run as who runs the tests: only the user is not changed."""
    command = ["env", *user.program(None)]
    run = Run(uid=os.geteuid(), patience=PATIENT, pauses=Pauses())
    with user_process.started(command, run) as process:
        yield process


def parts(path: Path) -> tuple[str, ...]:
    return path.parts[1:]


def hello(file: Any) -> None:
    file.write(b"hello\n")


def test_a_file_is_read_over_the_pipes(tmp_path: Path) -> None:
    content = os.urandom((2 << 20) + 5)
    (tmp_path / "a").write_bytes(content)
    target = io.BytesIO()
    with same_user() as process:
        found = UserFile.held(process, parts(tmp_path / "a"))
        found.copy_to(target)
    assert target.getvalue() == content


def test_files_are_written_over_the_pipes(tmp_path: Path) -> None:
    with same_user() as process:
        folder = UserFolder.held(process, parts(tmp_path), "mine")
        folder.put("a", hello)
        folder.put("a", lambda file: file.write(b"other"))
        folder.replace("b", hello)
        folder.replace("b", lambda file: file.write(os.urandom(3 << 20)))
    assert (tmp_path / "mine" / "a").read_text() == "hello\n"
    assert (tmp_path / "mine" / "b").stat().st_size == 3 << 20
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "mine" / "a").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path / "mine") == ["a", "b"]


def test_what_a_run_that_was_killed_left_goes_with_the_next(tmp_path: Path) -> None:
    def be_killed(file: Any) -> None:
        file.write(bytes(1 << 20))
        (pid,) = helpers()
        os.kill(pid, signal.SIGKILL)
        file.write(bytes(1 << 20))

    with pytest.raises(FilesAway), same_user() as process:
        UserFolder.held(process, parts(tmp_path), "mine").put("a", be_killed)
    (draft,) = names(tmp_path / "mine")
    assert draft.startswith(".a.")
    with same_user() as process:
        UserFolder.held(process, parts(tmp_path), "mine").put("a", hello)
    assert names(tmp_path / "mine") == ["a"]


def test_what_it_refuses_is_said_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with same_user() as process, pytest.raises(AccessRefused) as raised:
        UserFile.held(process, parts(tmp_path / "link" / "a"))
    assert (
        str(raised.value) == f"{tmp_path / 'link'}: it is a link; give the path to which it leads"
    )


def test_nothing_of_ours_is_in_its_environment_or_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTNODE_SECRET", "s3cret")
    (tmp_path / "a").write_text("x")
    with same_user() as process:
        UserFile.held(process, parts(tmp_path / "a"))
        (pid,) = helpers()
        environment = Path(f"/proc/{pid}/environ").read_text()
        arguments = Path(f"/proc/{pid}/cmdline").read_text()
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {one.partition("=")[0] for one in environment.split("\0") if one} == {"PATH", "LANG"}
    assert str(tmp_path) not in arguments


def helpers() -> list[int]:
    """Return the helpers among our child processes: engines of other tests may be there, too."""
    tasks = Path("/proc/self/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if b"as_user" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_it_is_one_file_for_any_python_and_needs_nothing_of_ours() -> None:
    source = Path(as_user.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    wanted = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert wanted <= sys.stdlib_module_names
    assert source.startswith("#!/usr/bin/python3 -IS\n")
    assert os.access(as_user.__file__, os.X_OK)


@pytest.fixture
def access(tmp_path: Path) -> UserAccess:
    """Return the access of a site whose only user owns the process, and may put another there."""
    identities(tmp_path, {ALICES_ID: {"uid": EVIL, "gids": [GROUP]}})
    settings = BatchSettings(
        access=AccessMode.USER,
        folders=(tmp_path,),
        identities_file=tmp_path / "identities.yaml",
        run_as=("env", "WHO={uid}"),
        helper=tmp_path / "evil",
    )
    return UserAccess(settings, PATIENT, Pauses())


PRELUDE = f"""#!{sys.executable} -IS
import json, os, struct, sys, time, zlib
def frame(kind, payload, length=None, crc=None):
    head = struct.pack(">cII", kind, len(payload) if length is None else length,
                       zlib.crc32(payload) if crc is None else crc)
    os.write(1, head + payload)
def say(**values):
    frame(b"W", json.dumps(values).encode())
def hear():
    head = os.read(0, 9)
    return head and os.read(0, struct.unpack(">cII", head)[1])
def hello():
    say(said="hello", protocol={as_user.PROTOCOL}, uid={EVIL})
"""


def evil(access: UserAccess, text: str) -> UserAccess:
    """Let the person put this program in the place of ours."""
    assert access.settings.helper is not None
    access.settings.helper.write_text(PRELUDE + text)
    access.settings.helper.chmod(0o755)
    return access


def read(access: UserAccess, target: Any = None) -> int:
    """Read the person's input; return how large it is said to be."""
    wanted = order(upload=None, input_path=str(access.settings.folders[0] / "in.jsonl"))
    with access.input(wanted) as found:
        found.copy_to(target or io.BytesIO())
        return found.size


HELD = "hello(); hear(); say(said='held', size={size}); hear()\n"
END = "say(said='end', changed=False)\n"
#: What an honest program says to go on with, without waiting for a word.
REST = "say(said='held', size=1); frame(b'D', b'a')\n" + END
FALSE_SUM = """frame(b'W', b'{"said": "held", "size": 1}', crc=1)"""


def test_an_honest_process_in_its_place_is_read(access: UserAccess) -> None:
    target = io.BytesIO()
    assert read(evil(access, HELD.format(size=3) + "frame(b'D', b'abc')\n" + END), target) == 3
    assert target.getvalue() == b"abc"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("frame(b'D', b'abcd')\n" + END, id="more"),
        pytest.param("frame(b'D', b'ab')\n" + END, id="less"),
        pytest.param("frame(b'D', b'a'); frame(b'D', b'bc')\n" + END, id="small pieces"),
        pytest.param(END, id="nothing"),
        pytest.param("frame(b'D', b'')\n" + END, id="an empty piece"),
        pytest.param("frame(b'D', b'abc'); say(said='end', changed=True)\n", id="changed"),
        pytest.param("frame(b'D', b'abc'); say(said='end')\n", id="no end"),
        pytest.param("frame(b'D', b'abc'); frame(b'D', b'abc')\n" + END, id="twice"),
    ],
)
def test_who_lies_about_the_length_is_refused(access: UserAccess, text: str) -> None:
    target = io.BytesIO()
    with pytest.raises(BatchRefused, match="it changed while it was read"):
        read(evil(access, HELD.format(size=3) + text), target)
    assert len(target.getvalue()) <= 3


def test_a_flood_is_not_taken(access: UserAccess) -> None:
    flood = "while True: frame(b'D', bytes(1 << 20))\n"
    target = io.BytesIO()
    with pytest.raises(BatchRefused, match="it changed"):
        read(evil(access, HELD.format(size=2 << 20) + flood), target)
    assert len(target.getvalue()) <= 2 << 20


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("sys.stdout.write('Last login: today\\n'); sys.stdout.flush()\n", id="motd"),
        pytest.param("hello()\n", id="only hello"),
        # These go on as if all were well: who took the word would take the rest.
        pytest.param(f"say(said='hello', protocol=0, uid={EVIL})\n{REST}", id="another version"),
        pytest.param(
            f"say(said='hello', protocol={as_user.PROTOCOL}, uid=0)\n{REST}", id="another user"
        ),
        pytest.param("hello(); frame(b'W', b'x' * 5000)\n", id="a long word"),
        pytest.param("hello(); frame(b'W', b'', length=1 << 31)\n", id="a longer word"),
        pytest.param("hello(); frame(b'D', b'', length=1 << 31)\n", id="long content"),
        pytest.param("hello(); frame(b'D', b'content')\n", id="content for a word"),
        pytest.param(f"hello(); {FALSE_SUM}; frame(b'D', b'a')\n{END}", id="a false sum"),
        pytest.param("hello(); frame(b'W', b'[' * 4000)\n", id="a deep word"),
        pytest.param("hello(); frame(b'W', b'[1]')\n", id="a list"),
        pytest.param("hello(); frame(b'X', b'{}')\n", id="an unknown kind"),
        pytest.param("hello(); say(said=['held'], size=3)\n", id="no text"),
        *(
            pytest.param(
                f"hello(); say(said='held', size={size}); frame(b'D', b'a')\n{END}",
                id=f"size {size}",
            )
            for size in ("-1", "'3'", "True", "None", "1.0")
        ),
        pytest.param("hello(); say(said='refused', why='<b>', at=1)\n", id="words of its own"),
        pytest.param("hello(); say(said='refused', why=[], at=1)\n", id="no words"),
        pytest.param("hello(); say(said='failed', errno=5)\n", id="its disk"),
    ],
)
def test_what_makes_no_sense_puts_the_batch_off(access: UserAccess, text: str) -> None:
    with pytest.raises(FilesAway) as raised:
        read(evil(access, text))
    assert "<b>" not in str(raised.value)
    assert not isinstance(raised.value, FilesTimedOut)


@pytest.mark.parametrize("at", ["1", "-1", "10**9", "None", "'x'", "True"])
def test_a_refusal_names_a_part_of_the_path_that_was_asked(access: UserAccess, at: str) -> None:
    text = f"hello(); hear(); say(said='refused', why='enter', at={at})\n"
    with pytest.raises(AccessRefused) as raised:
        read(evil(access, text))
    path, _, words = str(raised.value).partition(": ")
    assert words == "you may not enter it"
    assert str(access.settings.folders[0] / "in.jsonl").startswith(path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("time.sleep(600)\n", id="before hello"),
        pytest.param("hello(); time.sleep(600)\n", id="after hello"),
        pytest.param(HELD.format(size=3) + "time.sleep(600)\n", id="before the content"),
        pytest.param(
            HELD.format(size=1 << 20)
            + "os.write(1, struct.pack('>cII', b'D', 1 << 20, 0))\n"
            + "while True: os.write(1, b'x'); time.sleep(0.01)\n",
            id="a byte now and then",
        ),
        pytest.param("while True: os.write(2, b'x' * 65536)\n", id="a flood of complaints"),
    ],
)
def test_who_hangs_is_not_waited_for_and_not_asked_again_at_once(
    access: UserAccess, text: str
) -> None:
    hasty = replace(
        evil(
            access,
            f"open({str(access.settings.helper)!r} + '.pid', 'w').write(str(os.getpid()))\n" + text,
        ),
        patience=HASTY,
    )
    with pytest.raises(FilesTimedOut):
        read(hasty)
    assert access.settings.helper is not None
    pid = access.settings.helper.with_suffix(".pid")
    asked = int(pid.read_text()) if pid.exists() and pid.read_text() else None
    assert asked is None or processes.started(asked) is None
    pid.unlink(missing_ok=True)

    with pytest.raises(FilesAway, match="did not answer in time"):
        read(hasty)
    assert not pid.exists()


def test_who_takes_nothing_is_not_waited_for(access: UserAccess) -> None:
    evil(access, "hello(); hear(); say(said='done'); hear(); time.sleep(600)\n")
    hasty = replace(access, patience=HASTY)
    wanted = order(upload=None, input_path=str(access.settings.folders[0] / "in.jsonl"))
    with (
        pytest.raises(FilesTimedOut),
        hasty.result_folder(wanted, str(access.settings.folders[0])) as folder,
    ):
        folder.put("a", lambda file: file.write(bytes(8 << 20)))


def test_who_ends_while_results_come_puts_them_off(access: UserAccess) -> None:
    evil(access, "hello(); hear(); say(said='done'); hear()\n")
    wanted = order(upload=None, input_path=str(access.settings.folders[0] / "in.jsonl"))
    with (
        pytest.raises(FilesAway),
        access.result_folder(wanted, str(access.settings.folders[0])) as folder,
    ):
        folder.put("a", lambda file: file.write(bytes(8 << 20)))


def test_no_word_of_a_path_or_of_content_is_logged(
    access: UserAccess, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FilesAway):
        read(evil(access, "hello(); hear(); frame(b'W', b'the content')\n"))
    with pytest.raises(FilesAway):
        read(evil(access, "sys.stderr.write('sorry\\n\\x1b[2J'); sys.exit(1)\n"))
    assert "in.jsonl" not in caplog.text
    assert "the content" not in caplog.text
    assert r"sorry\n\x1b[2J" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_command_that_is_not_there_is_for_the_operators(access: UserAccess) -> None:
    settings = replace(access.settings, run_as=("/no/sudo", "{user}"))
    with pytest.raises(ConfigurationError, match=r"run_as: /no/sudo was not started"):
        read(replace(access, settings=settings))


def test_a_host_that_starts_nothing_more_puts_the_batch_off(access: UserAccess) -> None:
    evil(access, "")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        # Earlier tests leave gaps: none of them may be open to it, and two places are.
        highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        while (last := stack.enter_context(Path("/dev/null").open()).fileno()) < highest:
            pass
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 3, limits[1]))
        try:
            with pytest.raises(FilesAway, match="cannot use your account's files now"):
                read(access)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_command_names_the_user_as_the_operators_want(access: UserAccess) -> None:
    settings = replace(
        access.settings,
        run_as=("sudo", "-n", "-u", "{user}", "--group=#{gid}", "{uid}", "--"),
        helper=Path("/opt/as-user"),
    )
    alice = Person(uid=7, gids=frozenset({8}), account="alice", gid=8)
    assert user.command(settings, alice) == [
        *("sudo", "-n", "-u", "alice", "--group=#8", "7", "--"),
        "/opt/as-user",
    ]
    nameless = Person(uid=7, gids=frozenset({8}), gid=8)
    assert user.command(settings, nameless)[3] == "#7"
    with pytest.raises(ConfigurationError, match="no group of a user is known"):
        user.command(settings, Person(uid=7))
    own = user.command(replace(settings, helper=None), alice)
    assert own[-3:] == ["-I", "-S", as_user.__file__]


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def pause_s(pauses: Pauses, clock: Clock, patience: Patience = AT_ONCE) -> float:
    """Wait until a person is asked again; return for how long that was."""
    began = clock.now
    while True:
        try:
            pauses.require_none(1, patience)
        except FilesAway:
            clock.now += 1.0
        else:
            return clock.now - began


def test_pauses_grow_and_begin_anew() -> None:
    clock = Clock()
    pauses = Pauses(clock=clock)
    assert pause_s(pauses, clock) == 0.0
    lengths = []
    for _ in range(8):
        pauses.begin(1)
        lengths.append(pause_s(pauses, clock))
    assert lengths == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    pauses.begin(1)
    pauses.require_none(2, LATER)
    clock.now += 1300.0
    pauses.begin(1)
    assert pause_s(pauses, clock) == 15.0


def test_a_quick_answer_now_and_then_does_not_make_pauses_short() -> None:
    clock = Clock()
    pauses = Pauses(clock=clock)
    for _ in range(5):
        pauses.begin(1)
        pause_s(pauses, clock)
        clock.now += 60.0
        pauses.waited(1, LATER, seconds=0.1, count=0)
    pauses.begin(1)
    assert pause_s(pauses, clock) == 480.0


def test_a_run_that_made_no_sense_is_not_tried_again_at_once(access: UserAccess) -> None:
    """Twenty batches of somebody who kills each run would keep a core busy with starting them."""
    clock = Clock()
    sound = HELD.format(size=3) + "frame(b'D', b'abc')\n" + END
    access = replace(access, pauses=Pauses(clock=clock))
    for text in (sound, "hello()\n", "hello()\n", sound):
        with suppress(FilesAway):
            read(evil(access, text))
    broken = evil(access, "hello()\n")
    for _ in range(3):
        with pytest.raises(FilesAway, match="did not work"):
            read(broken)
    with pytest.raises(FilesAway, match="cannot be used now"):
        read(broken)
    clock.now += 15.0
    with pytest.raises(FilesAway, match="did not work"):
        read(broken)
    with pytest.raises(FilesAway, match="cannot be used now"):
        read(broken)


def test_others_have_as_long_as_somebody_slow_took_of_the_agents_thread() -> None:
    clock = Clock()
    pauses = Pauses(clock=clock)
    pauses.waited(1, LATER, seconds=29.0, count=100)
    pauses.require_none(2, LATER)
    # Whoever submits keeps nobody, and needs two runs.
    assert pause_s(pauses, clock, AT_ONCE) == 0.0
    assert pause_s(pauses, clock, LATER) == 27.0
    pauses.waited(1, LATER, seconds=1024.0, count=1 << 30)
    assert pause_s(pauses, clock, LATER) > 800.0
    # Many bytes at a fair rate, and a moment, are nobody's fault.
    pauses.waited(1, LATER, seconds=60.0, count=1 << 30)
    assert pause_s(pauses, clock, LATER) == 0.0
    pauses.waited(1, LATER, seconds=1.5, count=0)
    assert pause_s(pauses, clock, LATER) == 0.0
    pauses.waited(1, AT_ONCE, seconds=5.0, count=0)
    assert pause_s(pauses, clock, LATER) == 0.0


def test_a_slow_process_gives_others_their_turn(access: UserAccess) -> None:
    clock = Clock()
    text = HELD.format(size=3) + "time.sleep(2.2); frame(b'D', b'abc')\n" + END
    slow = replace(
        evil(access, text),
        patience=Patience(seconds=20.0, bytes_per_s=1.0, keeps_others=True),
        pauses=Pauses(clock=clock),
    )
    assert read(slow) == 3
    with pytest.raises(FilesAway):
        read(slow)


def test_two_runs_and_an_input_fit_into_a_call() -> None:
    """A call on a site's link is given up after 30 s."""
    assert 2 * AT_ONCE.seconds + (32 << 20) / AT_ONCE.bytes_per_s <= 20.0


# As another user.


@pytest.fixture
def theirs(shared: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[UserAccess, Path]:
    """Return the access of a site with a real change of the user, and that user's home."""
    require_switch()
    site = users_site(shared)
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    found = site.access
    assert isinstance(found, UserAccess)
    return found, shared / "home"


def test_results_belong_to_the_person(theirs: tuple[UserAccess, Path]) -> None:
    access, home = theirs
    with access.result_folder(order(), str(home / "out")) as folder:
        path = Path(folder.put("a.jsonl", hello))
    for one in (path, path.parent):
        assert (one.stat().st_uid, one.stat().st_gid) == (USER, GROUP)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_command_that_changes_no_user_reads_nothing(
    theirs: tuple[UserAccess, Path], caplog: pytest.LogCaptureFixture
) -> None:
    access, home = theirs
    same = replace(access, settings=replace(access.settings, run_as=("env", "WHO={uid}")))
    wanted = order(upload=None, input_path=str(home / "input.jsonl"))
    with pytest.raises(FilesAway), same.input(wanted):
        pass
    assert "run_as_wrong_user" in caplog.text


def test_groups_of_the_service_do_not_come_along(theirs: tuple[UserAccess, Path]) -> None:
    access, home = theirs
    owned(home / "roots.jsonl", uid=OTHER, gid=os.getegid(), mode=0o640)
    wanted = order(upload=None, input_path=str(home / "roots.jsonl"))
    with pytest.raises(AccessRefused, match="you may not read it"), access.input(wanted):
        pass


#: Reads five times, where the service may kill nobody else's process, as where `sudo` is between.
READING = """
import dataclasses, io, json, os, sys, threading
from pathlib import Path
from compute_functions.batch_access.patience import Patience, Pauses
from compute_functions.batch_access.user import UserAccess
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import FilesAway
from compute_functions.batch_settings import AccessMode, BatchSettings
told = json.load(sys.stdin)
settings = BatchSettings(
    access=AccessMode.USER, folders=(Path(told["folder"]),), run_as=tuple(told["run_as"]),
    identities_file=Path(told["identities"]), helper=Path(told["helper"]),
)
access = UserAccess(settings, Patience(seconds=30.0, bytes_per_s=1 << 20), Pauses())
done = []
for _ in range(5):
    try:
        with access.input(BatchOrder.from_wire(told["order"])) as found:
            found.copy_to(io.BytesIO())
        done.append("")
    except FilesAway as error:
        done.append(str(error))
tasks = Path("/proc/self/task").iterdir()
left = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
print(json.dumps([done, left, threading.active_count() - 1]))
sys.stdout.flush()
os._exit(0)
"""


def test_programs_that_never_end_do_not_pile_up(theirs: tuple[UserAccess, Path]) -> None:
    access, home = theirs
    settings = access.settings
    held = HELD.format(size=3) + "frame(b'D', b'abc')\n" + END + "time.sleep(300)\n"
    assert settings.helper is not None
    settings.helper.write_text(PRELUDE.replace(sys.executable, str(SYSTEMS_PYTHON)) + held)
    told = {
        "folder": str(settings.folders[0]),
        "run_as": settings.run_as,
        "identities": str(settings.identities_file),
        "helper": str(settings.helper),
        "order": order(upload=None, input_path=str(home / "input.jsonl")).to_wire(),
    }
    command = ["setpriv", "--bounding-set=-kill", "--", sys.executable, "-c", READING]
    ran = subprocess.run(  # noqa: S603 - our own words
        command, input=json.dumps(told), capture_output=True, text=True, check=True, timeout=60
    )
    done, left, threads = json.loads(ran.stdout)
    try:
        assert done[:2] == ["", ""]
        assert all("did not end" in said for said in done[2:])
        assert (len(left), threads) == (2, 2)
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


CALLING = Path(__file__).parents[1] / "batch_spool" / "calling.py"
#: A service that is root by name, and may no more with others' files than any account may.
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", "--"]


@pytest.mark.row("C-46", "C-48")
def test_a_service_that_may_not_read_the_file_itself_has_it_read_and_delivers(
    theirs: tuple[UserAccess, Path], shared: Path
) -> None:
    _, home = theirs
    site = site_in(shared)
    wanted = order(
        upload=None,
        input_path=str(home / "input.jsonl"),
        output_folder=str(home / "out"),
    )
    with pytest.raises(subprocess.CalledProcessError):
        powerless(["cat", str(home / "input.jsonl")])
    call = {"v": 1, "verb": "submit", "order": wanted.to_wire(), "batches": []}
    (taken,) = json.loads(calling([["run_batch", call]]))
    assert taken["kind"] == "batches", taken
    assert site.folder().input.read_bytes() == lines()
    site.finish()
    calling([["attend", str(site.folder().path)]])

    told = site.report()
    assert told.results_path is not None
    assert Path(told.results_path).stat().st_uid == USER
    assert names(Path(told.results_path).parent) == [
        "input_20260921-141320.progress.json",
        "input_20260921-141320.results.jsonl",
    ]


def site_in(shared: Path) -> BatchSite:
    """Return the site that `theirs` made."""
    return BatchSite(SiteDirectory(shared / "site"))


def powerless(command: list[str], said: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [*POWERLESS, *command],
        input=said,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def calling(calls: list[Any]) -> str:
    said = powerless([sys.executable, str(CALLING)], json.dumps(calls) + "\n")
    return said.removeprefix("ready\n")
