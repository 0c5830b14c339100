"""What does the sender of a message hear? Acknowledgements of HL7 v2, in the original and the enhanced mode."""

from datetime import datetime

from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.hl7 import Header

NOBODY = Header("|", "^~\\&", "|", "|", "", "", "P", "2.5")  # the sender of what nobody can read


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
