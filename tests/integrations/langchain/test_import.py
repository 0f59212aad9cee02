"""Where LangChain comes from, and what happens where it does not."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={name!r})
sys.meta_path.insert(0, Missing())
"""


def test_importing_botwire_does_not_import_langchain():
    assert run("import sys, botwire; print('langchain_core' in sys.modules)") == "False\n"


def test_the_name_in_botwire_is_the_class():
    code = (
        "from botwire import BotWireChatHistory\nfrom botwire.integrations import langchain\n"
        "print(BotWireChatHistory is langchain.BotWireChatHistory)"
    )
    assert run(code) == "True\n"


def test_without_langchain_core_the_error_says_what_to_install():
    code = WITHOUT.format(name="langchain_core") + (
        "import botwire\ntry:\n    from botwire import BotWireChatHistory\n"
        "except botwire.MissingExtra as error:\n    print(error, '|', error.name)"
    )
    assert "pip install 'botwire[langchain]' | langchain_core" in run(code)


def test_what_langchain_core_itself_lacks_is_not_called_missing_langchain():
    code = WITHOUT.format(name="jsonpatch") + (
        "import botwire\ntry:\n    import langchain_core.tracers.log_stream, botwire.integrations.langchain\n"
        "except ModuleNotFoundError as error:\n    print(error.name, isinstance(error, botwire.MissingExtra))"
    )
    assert run(code) == "jsonpatch False\n"


def test_a_history_works_without_the_base_class_that_langchain_core_2_removes():
    code = """
import langchain_core, sys
sys.modules["langchain_core.chat_history"] = None
from botwire import BotWireChatHistory
history = BotWireChatHistory("s", url="memory://")
history.add_user_message("hi")
history.add_ai_message("hello")
print([message.content for message in history.messages], len(history))
history.clear()
print(history.messages)
"""
    assert run(code) == "['hi', 'hello'] 2\n[]\n"
