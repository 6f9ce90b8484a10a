"""Training checkpoints that cannot be gone on with: damaged, foreign, or of other settings."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from deploy.storage.rocksdb import MADE_BY, Store
from tests.system.bad_inputs.site import (
    CONFIG,
    Kind,
    Outcome,
    Site,
    expect,
    outputs_whole,
    replay,
    store_whole,
)
from tests.system.bad_inputs.stores import drop, put

COMMIT = b"training/commit"
DIGEST = 16  # bytes; in front of the commit, in hexadecimal
COPY = "restore the store from a copy, or replay into a new folder"
OTHERS = (
    "DIR/out/store: saved with other settings, so it cannot go on with these; use the same (fields "
    "and crosses may be added), or name a new folder:\n  "
)


def resume(site: Site) -> Outcome:
    """Go on with the run."""
    return site.clickloop([*site.replay_words, "--resume"])


def checkpoint(name: str, spoil: Callable[[Site], None], says: str, **expected: Any) -> Kind:
    """Make a good run, then spoil what it would go on with, then do so."""

    def spoiled(site: Site) -> None:
        expect(replay(site).exit, 0)
        spoil(site)

    given: dict[str, Any] = {"exit": 1, "run": resume, "leaves": (outputs_whole, store_whole)}
    return Kind(name, "checkpoint", spoiled, says=says, **given | expected)


def stored(site: Site) -> bytes:
    """The commit of the run."""
    with Store(site.store, read_only=True) as opened:
        value = opened.get(COMMIT)
    assert value is not None
    return value


def cut_short(site: Site) -> None:
    """Lose the last byte of the commit."""
    put(COMMIT, stored(site)[:-1])(site)


def told(format: int | None) -> Callable[[Site], None]:
    """Have the commit say that it is of such a format, or nothing of it."""

    def spoil(site: Site) -> None:
        values = json.loads(stored(site)[2 * DIGEST :])
        del values["format"]
        text = json.dumps(values if format is None else {"format": format, **values}).encode()
        digest = hashlib.blake2b(text, digest_size=DIGEST).hexdigest()
        put(COMMIT, digest.encode() + text)(site)

    return spoil


def configured(before: str, after: str) -> Callable[[Site], None]:
    """Change the settings."""

    def spoil(site: Site) -> None:
        assert before in CONFIG
        site.config.write_text(CONFIG.replace(before, after))

    return spoil


CHECKPOINTS = (
    checkpoint(
        "commit cut short",
        cut_short,
        f"DIR/out/store: the training checkpoint does not fit its digest; {COPY}",
    ),
    checkpoint(
        "page of the table missing",
        drop(b"training/slots/"),
        "DIR/out/store: the training checkpoint lacks training/slots/00000000/1: the store is "
        "damaged; restore it from a copy, or replay into a new folder",
    ),
    checkpoint(
        "array missing",
        drop(b"training/blob/evaluation/"),
        "DIR/out/store: the training checkpoint lacks training/blob/evaluation/1/00000: the store "
        "is damaged; restore it from a copy, or replay into a new folder",
    ),
    checkpoint(
        "array altered",
        put(b"training/blob/evaluation/1/00000", b"nothing"),
        "DIR/out/store: evaluation of the training checkpoint does not fit its digest; " + COPY,
    ),
    checkpoint(
        "a newer format",
        told(99),
        "DIR/out/store: the training checkpoint has format 99, this clickloop reads up to 2; "
        "upgrade clickloop",
    ),
    checkpoint(
        "an older format",
        told(None),
        "DIR/out/store: the training checkpoint has format 1, of an older clickloop, and this one "
        "goes on from format 2; end the run with the version that began it, or replay into a new "
        "folder, or go on from its weights: `clickloop worker learn --from`",
    ),
    checkpoint(
        "of a newer clickloop",
        put(b"format", b'{"format": 1, "made_by": "99.0.0"}'),
        f"DIR/out/store: clickloop 99.0.0 has written to this store, and this is {MADE_BY}, which "
        "may not know all of it; upgrade clickloop",
        leaves=(outputs_whole,),
    ),
    checkpoint(
        "with another field",
        configured('price = { kind = "number" }', 'cost = { kind = "number" }'),
        OTHERS + "[features] fields.price: is gone; its weights would be missing from every "
        'prediction: keep it, or, if it has another name now, give that one hash_as = "price"',
        exit=2,
    ),
    checkpoint(
        "with another kind of field",
        configured('price = { kind = "number" }', 'price = { kind = "categorical" }'),
        OTHERS + "[features] fields.price: kind was 'number', now it is 'categorical'; its weights "
        "were learned for other values: leave it, and add a field beside it or start a new model",
        exit=2,
    ),
    checkpoint(
        "with other settings",
        configured("l1 = 0.0", "l1 = 0.5\nlayout = 'q2.13'"),
        OTHERS + "[learner] l1: 0.5 here, 0.0 in the checkpoint\n"
        "  [learner] layout: 'q2.13' here, 'float32' in the checkpoint",
        exit=2,
    ),
)
