"""The words of the page in its two languages, from `page/words.yaml`; what data says (names, notes, messages) stays as it is."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from harness.core.errors import RequestError, unknown

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
PAGE = Path(__file__).resolve().parent / "page"

Words = Mapping[str, str]
"""Key -> text, in one language."""


@cache
def words(language: str) -> Words:
    """The words of a language.

    Raises:
        RequestError: the page does not speak it.
    """
    if language not in LANGUAGES:
        raise RequestError(unknown("language", language, LANGUAGES))
    return {key: texts[language] for key, texts in yaml.safe_load((PAGE / "words.yaml").read_text(encoding="utf-8")).items()}
