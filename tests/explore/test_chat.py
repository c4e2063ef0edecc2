"""Whom one talks with: the student that the run has made, as it was made."""

import pytest

from dskd.errors import UserError
from dskd.explore import chat


@pytest.mark.parametrize(("name", "folder"), [("dskd-0", "students/dskd-0"), ("teacher", "teacher")])
def test_a_model_that_has_changed_since_it_was_made_is_not_loaded(project, name, folder):
    """As a remote may give it."""
    path = project / "artifacts" / folder / "tokenizer_config.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(UserError, match=r"tokenizer_config\.json has changed since it was written"):
        chat.load(name, "float32")
