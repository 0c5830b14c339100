"""Tonight's admissions, scored in chunks: in flat memory, in order, whole or not at all, and proven afterwards.

The finished chunks are kept beside the output in ``<output>.unfinished/``, and become the output when the last of them
is done. A call that was killed is taken up by the next one with the same request.
"""

from hi_ml.prediction.batch.parts import SUFFIXES
from hi_ml.prediction.batch.request import BatchRequest, fingerprints
from hi_ml.prediction.batch.run import MANIFEST, REJECTED, score
from hi_ml.prediction.batch.spark import score_on_spark
from hi_ml.prediction.batch.verify import prove

__all__ = ["MANIFEST", "REJECTED", "SUFFIXES", "BatchRequest", "fingerprints", "prove", "score", "score_on_spark"]
