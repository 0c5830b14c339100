"""How do messages of HL7 v2 lie in a stream of bytes (MLLP), however it is cut, and what does their sender hear?"""

from datetime import datetime
from typing import NamedTuple

from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.hl7 import Header

START, END = b"\x0b", b"\x1c"
_ANEW = START + b"MSH"  # inside of a message: its sender broke off, and began another
_HEAD = 4096  # bytes kept of a message that is too long: its header, for the answer
NOBODY = Header("|", "^~\\&", "|", "|", "", "", "P", "2.5")  # the sender of what nobody can read


class Frame(NamedTuple):
    """One message as it came."""

    content: bytes  # without what frames it; of one that is too long, the beginning
    whole: bool = True


class Framer:
    """Cuts the stream of one connection into messages; holds no more of one than is allowed."""

    def __init__(self, longest: int) -> None:
        self._longest = longest  # bytes of a message
        self._inside = False
        self._content = bytearray()
        self._length = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes, and return the messages that end in them; what stands between messages is nothing."""
        frames, position = [], 0
        while position < len(data):
            if not self._inside:
                start = data.find(START, position)
                if start < 0:
                    break
                self._begin()
                position = start + 1
            end = data.find(END, position)
            self._take(data[position : end if end >= 0 else len(data)])
            if end < 0:
                break
            frames.append(self._close())
            position = end + 1
        return frames

    def _begin(self) -> None:
        self._inside, self._length = True, 0
        self._content.clear()

    def _take(self, piece: bytes) -> None:
        self._length += len(piece)
        self._content += piece
        if self._length > self._longest:
            del self._content[_HEAD:]

    def _close(self) -> Frame:
        self._inside = False
        if self._length > self._longest:
            return Frame(bytes(self._content), whole=False)
        return Frame(bytes(self._content[self._content.rfind(_ANEW) + 1 :]))


def frame(content: bytes) -> bytes:
    """Wrap a message for sending."""
    return START + content + END + b"\r"


def acknowledge(
    header: Header, now: datetime, refused: MessageRefused | None = None, *, busy: bool = False
) -> list[bytes]:
    """Write what the sender is to hear: nothing, one answer, or in the enhanced mode two, as it asked.

    Parameters
    ----------
    refused : MessageRefused, optional
        Why the message was not taken; without it, it was.
    busy : bool
        Nothing was kept for now, and the message is to be sent again.
    """
    code = refused.code if refused else "AE" if busy else "AA"
    if not header.enhanced:
        return [_answer(header, now, code, refused)]
    codes = [(f"C{code[1]}", header.accept), (code, header.application)]
    return [_answer(header, now, each, refused) for each, asked in codes if _is_asked(asked, good=code == "AA")]


def _is_asked(condition: str, *, good: bool) -> bool:
    return condition in ("AL", "SU" if good else "ER")


def _answer(header: Header, now: datetime, code: str, refused: MessageRefused | None) -> bytes:
    bar, between = header.separator, header.encoding[0]
    kind = between.join(["ACK", *header.trigger.split("^")[1:2], *["ACK"] * ("^" in header.trigger)])
    stamp = now.strftime("%Y%m%d%H%M%S%z")
    text = str(refused) if refused else "" if code[1] == "A" else "Busy: nothing was kept. Send it again."
    first = ["MSH", header.encoding, *header.receiver.split("|"), *header.sender.split("|"), stamp, "", kind]
    lines = [
        [*first, f"{header.control}-{code}", header.processing or "P", header.version or "2.5"],
        ["MSA", code, header.control, _escaped(text, header)],
    ]
    if refused:
        segment, _, field = refused.field.partition("-")
        error = between.join(["207", "Application error", "HL70357"])
        lines.append(["ERR", "", between.join([segment, "1", field]), error, "E", "", "", "", _escaped(text, header)])
    return "\r".join([*(bar.join(line) for line in lines), ""]).encode("utf-8")


def _escaped(text: str, header: Header) -> str:
    between, again, mark, sub = tuple(header.encoding)
    for sign, code in ((mark, "E"), (header.separator, "F"), (between, "S"), (again, "R"), (sub, "T")):
        text = text.replace(sign, f"{mark}{code}{mark}")
    return text
