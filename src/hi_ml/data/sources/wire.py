"""How do messages lie in a stream of bytes? Between a vertical tab and a file separator (MLLP), however it is cut."""

from typing import NamedTuple

START, END = b"\x0b", b"\x1c"
_ANEW = START + b"MSH"  # inside of a message: its sender broke off, and began another
_HEAD = 4096  # bytes kept of a message that is too long: its header, for the answer


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
