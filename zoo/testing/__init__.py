"""The kit for authors of plugins: tiny models, small data, and each promise of a plugin as a check.

    from zoo.testing import broken, check_plugin

    def test_it_keeps_every_promise_of_a_method():
        assert broken(check_plugin("method", "my-method")) == []

`check_method` and `check_task` are the same for objects that are not installed and for a base and data of
one's own. pytest finds the fixtures (zoo/testing/fixtures.py) by itself.
"""

from zoo.testing.data import CAPTIONS, CONVERSATIONS, reviews, write_conversations, write_csv, write_pictures
from zoo.testing.method_checks import check_method
from zoo.testing.models import ENCODERS, FAMILIES, TinyModels, save_tiny_model
from zoo.testing.plugin_checks import check_plugin
from zoo.testing.promises import broken
from zoo.testing.task_checks import check_task

__all__ = [
    "CAPTIONS",
    "CONVERSATIONS",
    "ENCODERS",
    "FAMILIES",
    "TinyModels",
    "broken",
    "check_method",
    "check_plugin",
    "check_task",
    "reviews",
    "save_tiny_model",
    "write_conversations",
    "write_csv",
    "write_pictures",
]
