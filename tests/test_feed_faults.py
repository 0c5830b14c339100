"""What the service promises when something fails: nothing acknowledged is lost, nothing is kept twice, nobody waits."""

import hashlib
import importlib.util
import json
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import hl7.client
import pytest
import yaml

from hi_ml import listen, replay
from hi_ml.app.config import build, conf_dir
from hi_ml.data.sources.hl7 import Feed, Reader
from hi_ml.prediction.feed.ledger import Ledger
from hi_ml.prediction.feed.log import Entry, Log
from live import Line, adt, listening, until

READER = Reader(build(Feed, yaml.safe_load((conf_dir() / "feed" / "default.yaml").read_text())), str, UTC)
FOLDER = Path(__file__).parents[1] / "experiments"
SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "hl7v2"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_killed_at_any_moment_it_has_what_it_acknowledged_once(tmp_path):
    counts = load("live_kills").study(tmp_path, kills=4, messages=1_600, seed=1)
    assert counts == {"kills": 4, "acknowledged": 1_600, "lost": 0, "double": 0, "visits": 1_600}


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path):
    """A kill cannot prove it, for the system keeps what it was given: every commit must have asked for the disk."""
    code = (
        "from pathlib import Path; from datetime import UTC; from hi_ml.prediction.feed.log import Entry, Log\n"
        "log = Log.open(Path('live.sqlite'), UTC)\n"
        "assert log.database.execute('PRAGMA synchronous').fetchone() == (2,)\n"
        "assert log.sibling().database.execute('PRAGMA synchronous').fetchone() == (2,)\n"
        "for i in range(40): log.append([Entry(bytes([i]), 1.0)])\n"
    )
    traced = ["strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", "calls"]
    able = shutil.which("strace") and not subprocess.run([*traced, "true"], check=False, cwd=tmp_path).returncode
    if not able:
        pytest.skip("strace cannot trace here")
    subprocess.run([*traced, sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "calls").read_text().count("sync(") >= 40


@pytest.mark.slow
def test_on_a_full_disk_senders_hear_that_it_is_busy_and_nothing_needs_a_restart_when_there_is_room(tmp_path):
    with listening(tmp_path, limit=("prlimit", f"--fsize={400_000}:unlimited")) as service:
        line, taken = Line(service.mllp), []
        for i in range(3000):
            code, number = line.ask(adt(i))
            if code != "AA":
                break
            taken.append(number)
        assert code == "AE"
        assert urllib_status(f"{service.url}/ready") == 503
        assert line.ask(adt("again"))[0] == "AE"
        subprocess.run(["prlimit", f"--pid={service.process.pid}", "--fsize=unlimited"], check=True)
        until(lambda: line.ask(adt("again"))[0], lambda answer: answer == "AA")
        until(lambda: urllib_status(f"{service.url}/ready"), lambda status: status == 200)
        assert service.board(position=len(taken) + 1)["census"] == len(taken) + 1
        line.socket.close()
        assert service.end()[0] == 143
    with sqlite3.connect(tmp_path / "live.sqlite") as log:
        kept = [control for (control,) in log.execute("SELECT control FROM message ORDER BY position")]
    log.close()
    assert kept == [*taken, "again"]


def urllib_status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_whichever_order_messages_come_in_and_however_often_the_same_visits_come_out(tmp_path):
    """Through the whole service: admission, transfer, move, correction and discharge of two patients, in 24 orders."""
    story = [
        adt("1", visit="a", seen="20261129080000"),
        adt("2", "A02", visit="a", unit="W2", seen="20261129090000"),
        adt("3", "A08", visit="a", unit="W2", condition="Obesity", seen="20261129100000"),
        adt("4", "A45", visit="b", prior="Va", unit="W3", seen="20261129110000"),
    ]
    states = set()
    for number, order in enumerate(permutations(story)):
        folder = tmp_path / str(number)
        folder.mkdir()
        states.add(state_of(folder, [*order, order[0]]))
    assert len(states) == 1


def state_of(folder, messages):
    """The table of visits that a log makes of messages, read and folded as the service does."""
    log = Log.open(folder / "live.sqlite", UTC)
    ledger = Ledger.of(log, "I")
    now = datetime(2026, 12, 1, tzinfo=UTC)
    for content in messages:
        events = READER.events(READER.parse(content), now)
        log.append([Entry(hashlib.sha256(content).digest(), 0.0, events=events)])
        ledger.catch_up()
    rows = log.database.execute("SELECT visit, status, patient, body FROM visit ORDER BY visit").fetchall()
    assert {visit.visit: visit for visit in log.visits_at(now) if visit.status == "in"} == ledger.here
    log.close()
    return json.dumps([rows, sorted(ledger.here)])


@pytest.mark.slow
def test_who_reads_nothing_is_dropped_and_nobody_waits_for_it(tmp_path):
    with listening(tmp_path) as service:
        line = Line(service.mllp)
        for start in range(0, 6000, 50):
            line.send(*(adt(i) for i in range(start, start + 50)))
            assert [line.hear()[0] for _ in range(50)] == ["AA"] * 50
        service.board(position=6000)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
        deaf.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")
        until(lambda: service.get("metrics"), lambda text: "hi_ml_readers 1\n" in text)
        assert line.ask(adt("meanwhile")) == ("AA", "meanwhile")
        until(lambda: service.get("metrics"), lambda text: "hi_ml_readers 0\n" in text, seconds=60)
        assert line.ask(adt("afterwards")) == ("AA", "afterwards")
        deaf.close()
        line.socket.close()


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """A certificate of localhost, one of a known client and one of a stranger, each signed as its name says."""
    folder = tmp_path_factory.mktemp("papers")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for authority in ("ours", "strange"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.ca.key", "-out",
            f"{authority}.ca.pem", "-days", "2", "-subj", f"/CN={authority}",
        )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name, authority in (("server", "ours"), ("client", "ours"), ("stranger", "strange")):
        asked = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=x")
        openssl("req", *asked)
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.ca.pem", "-CAkey", f"{authority}.ca.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names",
        )  # fmt: skip
    (folder / "token").write_text("a-long-word\n")
    return folder


@pytest.mark.slow
def test_behind_tls_and_a_token_strangers_hear_nothing_and_harm_nothing(tmp_path, papers):
    tls = [f"cert={papers / 'server.pem'}", f"key={papers / 'server.key'}"]
    words = [f"mllp.tls.{each}" for each in (*tls, f"client_ca={papers / 'ours.ca.pem'}")]
    words += [*(f"http.tls.{each}" for each in tls), f"http.token_file={papers / 'token'}"]
    with listening(tmp_path, *words, "mllp.host=0.0.0.0", "http.host=0.0.0.0") as service:
        trust = ssl.create_default_context(cafile=papers / "ours.ca.pem")
        plain = Line(service.mllp, timeout=5)
        plain.send(adt("p"))
        with pytest.raises(OSError, match=r"reset|closed|^$"):
            plain.hear()
        plain.socket.close()
        for name, answered in (("stranger", False), (None, False), ("client", True)):
            context = ssl.create_default_context(cafile=papers / "ours.ca.pem")
            if name:
                context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
            line = Line(service.mllp, timeout=5)
            heard = None
            try:
                line.socket = context.wrap_socket(line.socket, server_hostname="localhost")
                heard = line.ask(adt("t"))
            except OSError:
                assert not answered
            finally:
                line.socket.close()
            assert (heard == ("AA", "t")) == answered

        def status(path, **headers):
            url = f"https://127.0.0.1:{service.url.rpartition(':')[2]}/{path}"
            try:
                asked = urllib.request.Request(url, headers=headers)
                with urllib.request.urlopen(asked, timeout=10, context=trust) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert status("health") == 200
        for path in ("", "board.json", "events", "ready", "metrics", "dead", "fhir", "nothing"):
            assert status(path) == status(path, Authorization="Bearer wrong") == 401
        assert status("board.json", Authorization="Bearer a-long-word") == 200
        assert status("board.json", Authorization="Basic OmEtbG9uZy13b3Jk") == 200  # of a browser: ":a-long-word"
        (tmp_path / "feed.hl7").write_bytes(adt("r"))
        sent = subprocess.run(
            [
                sys.executable, "-m", "hi_ml.replay", "input=feed.hl7", f"to=127.0.0.1:{service.mllp}", "tls=true",
                f"ca={papers / 'ours.ca.pem'}", f"cert={papers / 'client.pem'}", f"key={papers / 'client.key'}",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "answers: 1 AA" in sent.stdout, sent.stderr
        assert service.end()[0] == 143


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mllp.host=0.0.0.0"], "mllp.host=0.0.0.0 can be reached from other machines"),
        (["http.host=10.0.0.5"], "http.host=10.0.0.5 can be reached from other machines"),
        (["http.host='::'", "http.token_file=x"], "http.host=:: can be reached from other machines"),
        (["mllp.tls.cert=absent.pem", "mllp.tls.key=x"], "mllp.tls cannot be used: "),
        (["http.token_file=absent"], "http.token_file=absent holds no word"),
        (["mllp.allow=[everyone]"], "mllp.allow.0"),
        (["zone=Mars/Olympus"], "expected a time zone"),
        (["feed.columns.age=PID-5"], "expected a field that holds no name"),
    ],
)
def test_what_would_let_strangers_in_is_refused_in_one_sentence(inside, words, sentence):
    done = inside(listen.main, *words)
    assert done.code == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "replay needs input="),
        (["input=absent.hl7"], "found none in absent.hl7"),
        (["input=feed.hl7", "to=nowhere"], "to=nowhere is no address"),
        (["input=feed.hl7", "to=127.0.0.1:1", "patience=0.3"], "Nobody at 127.0.0.1:1 has taken the next message"),
    ],
)
def test_replay_says_what_it_lacks(inside, tmp_path, words, sentence):
    (tmp_path / "feed.hl7").write_bytes(adt("1"))
    done = inside(replay.main, *words)
    assert (done.code, sentence in done.stderr) == (1, True), done.stderr


@pytest.mark.slow
def test_the_client_of_python_hl7_delivers_a_thousand_messages(tmp_path):
    with listening(tmp_path) as service:
        with hl7.client.MLLPClient("127.0.0.1", service.mllp) as client:
            codes = {client.send_message(adt(i))[1:].decode().split("\r")[1].split("|")[1] for i in range(1000)}
        assert codes == {"AA"}
        assert service.board(position=1000)["census"] == 1000


SEND = """
const {Client, Message} = require("node-hl7-client");
const texts = JSON.parse(require("fs").readFileSync("messages.json"));
const codes = {};
let next = 0;
const line = new Client({host: "127.0.0.1"}).createConnection({port: Number(process.argv[2])}, async answer => {
  const code = answer.getMessage().get("MSA.1").toString();
  codes[code] = (codes[code] || 0) + 1;
  if (++next < texts.length) return line.sendMessage(new Message({text: texts[next]}));
  console.log(JSON.stringify(codes));
  await line.close();
  process.exit(0);
});
line.on("connect", () => line.sendMessage(new Message({text: texts[0]})));
"""


@pytest.mark.slow
def test_a_client_of_node_delivers_a_thousand_messages(tmp_path):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here")
    install = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", ".", "node-hl7-client@3"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("npm finds no registry here")
    (tmp_path / "send.js").write_text(SEND)
    (tmp_path / "messages.json").write_text(json.dumps([adt(i).decode() for i in range(1000)]))
    with listening(tmp_path) as service:
        words = ["node", "send.js", str(service.mllp)]
        sent = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert json.loads(sent.stdout) == {"AA": 1000}, sent.stderr
        assert service.board(position=1000)["census"] == 1000


# What a message that can be taken is answered, by what it asks for (MSH-15 and MSH-16).
ASKED = {
    (b"", b""): ("AA",), (b"AL", b"NE"): ("CA",), (b"AL", b"ER"): ("CA",), (b"AL", b"AL"): ("CA", "AA"),
    (b"NE", b"AL"): ("AA",), (b"NE", b"NE"): (),
}  # fmt: skip


def answers_to(line, content):
    """The codes of all answers: none or two where the sample asks for that (MSH-15 and MSH-16)."""
    line.send(content, adt("end", kind="O"))
    codes = []
    while (answer := line.hear())[1] != "end":
        codes.append(answer[0])
    return tuple(codes)


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the public samples are not here")
def test_the_public_samples_are_taken_whatever_ends_their_lines_and_leave_no_name(tmp_path):
    private, senders = set(), {b"GOOD HEALTH HOSPITAL"}
    with listening(tmp_path) as service:
        line = Line(service.mllp)
        for path in sorted(SAMPLES.glob("*.hl7")):
            body = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            ends = (body, body.replace(b"\n", b"\r"), body.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + body)
            header = [*body.split(b"\n")[0].split(b"|"), *[b""] * 16][14:16]
            assert {answers_to(line, content) for content in ends} == {ASKED[tuple(header)]}, path
            for segment in re.split(rb"[\r\n]", body):
                fields = segment.split(b"|")
                senders |= set(fields[2:6]) if fields[0] == b"MSH" else set()
                if fields[0] == b"PID":
                    cells = (
                        cell for i in (5, 9, 11, 13, 19) for cell in re.split(rb"[\^~&]", (fields + [b""] * 20)[i])
                    )
                    private |= {cell.strip() for cell in cells if len(cell.strip()) > 4}
        line.socket.close()
        log = (tmp_path / "live.sqlite").read_bytes() + (tmp_path / "live.sqlite-wal").read_bytes()
    assert len(private) > 50
    assert {word for word in private - senders if word in log} == set()
