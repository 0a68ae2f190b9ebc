"""Shell commands of the documentation, held against the programs that they call."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache

import yaml
from typer.main import get_command

from backends.cli import app
from tests.docs.pages import ROOT

ENDS = {"&&", "||", "|", ";", "&", "do", "then"}
# What is not ours: that it exists is all that can be said of it here.
OTHERS = {"pip", "git", "kubectl", "curl", "export", "for", "done", "cd", "cp", "nginx", "pytest"}
HEREDOC = re.compile(r"<<'(\w+)'\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)


def words_of(text: str) -> Iterator[list[str]]:
    """Each simple command as words, without comments, redirections and assignments before it."""
    for _, program in HEREDOC.findall(text):
        compile(program, "heredoc", "exec")
    for line in HEREDOC.sub("", text).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.commenters, lexer.whitespace_split = "#", True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ENDS:
                if words:
                    yield words
                words = []
            elif words or not re.fullmatch(r"\w+=.*", word):
                words.append(word)


def check(words: list[str], *, whole: bool = True) -> None:
    """Fail if a command, an option or a file is not there; `whole`: nor may anything be missing."""
    program, *rest = words
    if program.endswith("labelpilot"):
        _labelpilot(rest, whole=whole)
    elif program == "make":
        assert set(rest) <= make_targets(), words
    elif program.endswith("python"):
        _python(rest)
    elif program == "docker":
        _docker(rest)
    else:
        assert program in OTHERS, f"what is {program}? See OTHERS in {__file__}"
    if program == "kubectl" and "-f" in rest:
        assert (ROOT / rest[rest.index("-f") + 1]).exists(), words


def _labelpilot(words: list[str], *, whole: bool) -> None:
    command, path = get_command(app), []
    while hasattr(command, "commands") and words and re.fullmatch(r"[a-z]+(\|[a-z]+)*", words[0]):
        names, *words = words
        for name in names.split("|"):
            assert name in command.commands, f"labelpilot has no command {[*path, name]}"
        path.append(names)
        command = command.commands[names.split("|")[0]]
    if whole:
        assert not hasattr(command, "commands") or words, f"labelpilot {path} is no whole command"
        command.make_context(" ".join(path), list(words))
        return
    known = {option for each in command.params for option in each.opts} | {"--help"}
    known |= {option for each in command.params for option in each.secondary_opts}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"labelpilot {path} has no {used - known}"


def _python(words: list[str]) -> None:
    if words[0] in {"-", "-m"}:  # a heredoc, or a module
        return
    script = ROOT / words[0]
    assert script.is_file(), words
    source = script.read_text()
    for option in [word.split("=")[0] for word in words[1:] if word.startswith("--")]:
        assert f'"{option}"' in source, f"{words[0]} has no {option}"


def _docker(words: list[str]) -> None:
    services = set(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])
    if words[0] == "build":
        assert (ROOT / "Dockerfile").is_file()
        return
    assert words[0] == "compose", words
    scaled = re.findall(r"--scale (\S+)=\d+", " ".join(words))
    assert set(scaled) <= services, words
    if "exec" in words:
        service, *inner = words[words.index("exec") + 1 :]
        assert service in services, words
        check(inner)


@cache
def make_targets() -> frozenset[str]:
    """What `make` can make."""
    return frozenset(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
