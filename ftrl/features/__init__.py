"""A batch's fields become coordinates: 64-bit hashes and values.

- `compatibility`: what may change about the features of a model that has learned: fields and
  crosses may be added
- `config`: what the model sees of an impression: fields, how they are encoded, and crosses
- `coordinates`: an event batch as sparse rows of 64-bit coordinates: one for each field and each
  cross
- `hashing`: from a field's values to 64-bit coordinates: seeds, bytes, missing values, lists,
  crosses
- `numeric`: numbers as coordinates: logarithmic buckets, carried values, learned quantiles
- `renamed_fields`: features that have changed since a run began: what was read before lacks the
  columns of today
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
