"""Tonight's admissions, scored in chunks: in flat memory, in order, whole or not at all, and proven afterwards.

The finished chunks are kept beside the output in ``<output>.unfinished/`` with a journal, and become the output when
the last of them is done. A call that was killed is taken up by the next one with the same request.
"""

from hi_ml.batch.manifest import SUFFIX
from hi_ml.batch.output import SUFFIXES
from hi_ml.batch.proof import prove
from hi_ml.batch.request import Request
from hi_ml.batch.scoring import REJECTED, score
from hi_ml.batch.stamps import stamped

__all__ = ["REJECTED", "SUFFIX", "SUFFIXES", "Request", "prove", "score", "stamped"]
