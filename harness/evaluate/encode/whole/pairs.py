"""A pair of texts as one text, for what counts, names and stores texts."""

import json


def pair_text(query: str, candidate: str) -> str:
    """A pair as the one text that it goes by: in the store, in the counts of texts, on its way to the model."""
    return json.dumps([query, candidate], ensure_ascii=False)


def read_pair(text: str) -> tuple[str, str]:
    """Query and candidate of `pair_text`."""
    query, candidate = json.loads(text)
    return query, candidate
