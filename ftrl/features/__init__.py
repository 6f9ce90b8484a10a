"""From a batch's fields to coordinates: 64-bit hashes and values.

    fields ─▶ encoders (hashing, numeric) ─▶ a coordinate each ─▶ crosses ─▶ Coordinates

- `config`: which fields and crosses there are, and how they are encoded
- `compatibility`: what may change about the features of a model that has learned
- `renamed_fields`: older batches under the names of today
- `hashing`: values, lists and crosses to 64-bit hashes
- `numeric`: numbers as buckets, carried values and quantiles
- `coordinates`: `Features`, from a batch to its coordinates
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
