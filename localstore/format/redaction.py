"""Replaces secrets in the text of a document by marks such as `[redacted email]`.

The secrets are found by rules: those for keys, tokens, passwords and addresses in `SECRETS`, or regular expressions of
the caller. The structure of a document is never replaced: the names of its fields, types, roles, times, and ids.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from localstore.models.schema import SHAPES, FieldType, RecordName

_AROUND = 24
"""How many characters an excerpt has before and behind the mark."""
_IDS = frozenset(
    {
        *("session_id", "agent_id", "team_id", "workflow_id", "user_id"),
        *("run_id", "tool_call_id", "replay_of", "id", "item_id"),
    }
)
"""Fields that connect records, sessions and their owners."""
_WORDS = frozenset({"type", "role", "status", "finish_reason", "answered_by", "mime_type"})
"""Fields whose text is one of a few words."""
_FIXED: frozenset[FieldType] = frozenset(
    {"time", "integer", "number", "schema version", "kind", "rating", "type run", "type update"}
)
"""Types of fields that hold no text of a person or a model."""


class Rule(NamedTuple):
    """What to replace: each match of an expression or, if it has a group named `secret`, what that group matched."""

    name: str
    """Stands in the mark: `email` gives `[redacted email]`, and "" gives `[redacted]`."""
    expression: re.Pattern[str]
    hints: tuple[str, ...] = ()
    """Text without any of these has no match, and is not searched. Without hints, every text is searched."""

    @property
    def mark(self) -> str:
        """What replaces a match."""
        return f"[redacted {self.name}]" if self.name else "[redacted]"


def rule_of(pattern: str) -> Rule:
    """Return the rule for a regular expression of the caller. Raises ValueError if it is not valid."""
    try:
        return Rule("", re.compile(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}. Correct it.") from None


def _rule(name: str, expression: str, *hints: str) -> Rule:
    return Rule(name, re.compile(expression), hints)


SECRETS: tuple[Rule, ...] = (
    _rule(
        "private-key",
        r"-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]*(?:-(?!----)[^-]*)*-----END[^-]{0,60}-----|(?:[\s\\]{1,4}[A-Za-z0-9+/=]{20,})*)",
        "PRIVATE KEY",
    ),
    _rule("jwt", r"(?<![\w-])ey[\w-]{15,4000}\.ey[\w-]{15,16000}\.[\w-]{10,4000}", ".ey"),
    _rule("anthropic-key", r"\bsk-ant-[a-z0-9]{2,12}-[\w-]{40,200}", "sk-ant-"),
    _rule("openrouter-key", r"\bsk-or-v1-[0-9a-f]{64}\b", "sk-or-"),
    _rule("openai-key", r"\bsk-(?:(?:proj|svcacct|admin)-[\w-]{20,250}|[A-Za-z0-9]{32,64}\b)", "sk-"),
    _rule("groq-key", r"\bgsk_[A-Za-z0-9]{40,60}\b", "gsk_"),
    _rule("perplexity-key", r"\bpplx-[A-Za-z0-9]{40,60}\b", "pplx-"),
    _rule("xai-key", r"\bxai-[A-Za-z0-9]{60,100}\b", "xai-"),
    _rule("replicate-token", r"\br8_[A-Za-z0-9]{37}\b", "r8_"),
    _rule("huggingface-token", r"\b(?:hf|api_org)_[A-Za-z]{34}\b", "hf_", "api_org_"),
    _rule("aws-key", r"\bA(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}\b", "AKIA", "ASIA", "ABIA", "ACCA"),
    _rule(
        "aws-key",
        r"(?i:secret[_ ]?access[_ ]?key)[\"'\\]{0,2}\s{0,3}[:=]\s{0,3}[\"'\\]{0,2}"
        r"(?P<secret>[A-Za-z0-9+/]{40})(?![\w+/])",
        *("ecret", "ECRET"),
    ),
    _rule("google-key", r"\bAIza[\w-]{35}", "AIza"),
    _rule("google-key", r"\bya29\.[\w-]{20,400}|\bGOCSPX-[\w-]{28}", "ya29.", "GOCSPX-"),
    _rule("azure-key", r"AccountKey=(?P<secret>[A-Za-z0-9+/]{86}==)", "AccountKey="),
    _rule(
        "github-token",
        r"\bgh[opsur]_[A-Za-z0-9]{36,255}|\bgithub_pat_\w{82}",
        *("gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_"),
    ),
    _rule("gitlab-token", r"\bgl(?:pat|dt|rt|ptt|cbt|ft|soat)-[\w.-]{20,320}|\bgloas-[\w-]{64}", "gl"),
    _rule(
        "slack-token",
        r"\bxox[abeoprs]-[\w-]{10,250}|\bxapp-\d-[A-Z0-9]{1,40}-\d{1,20}-[a-z0-9]{20,100}",
        "xox",
        "xapp-",
    ),
    _rule("slack-webhook", r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[\w+/-]{40,80}", "hooks.slack.com/"),
    _rule("discord-webhook", r"\bdiscord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,80}", "/api/webhooks/"),
    _rule("telegram-token", r"\b\d{8,10}:AA[\w-]{33}\b", ":AA"),
    _rule("stripe-key", r"\b[rs]k_(?:test|live|prod)_[A-Za-z0-9]{10,99}", "k_test_", "k_live_", "k_prod_"),
    _rule("sendgrid-key", r"\bSG\.[\w-]{16,32}\.[\w-]{32,64}", "SG."),
    _rule("twilio-key", r"\bSK[0-9a-f]{32}\b", "SK"),
    _rule("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _rule("pypi-token", r"\bpypi-AgE[\w-]{50,1000}", "pypi-AgE"),
    _rule("digitalocean-token", r"\bdo[opr]_v1_[0-9a-f]{64}\b", "_v1_"),
    _rule("databricks-token", r"\bdapi[0-9a-f]{32}\b", "dapi"),
    _rule("vault-token", r"\bhv[bs]\.[\w-]{24,300}", "hvs.", "hvb."),
    _rule("terraform-token", r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}", ".atlasv1."),
    _rule("shopify-token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", "shp"),
    _rule("grafana-token", r"\bglsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}\b|\bglc_[A-Za-z0-9+/]{32,400}", "glsa_", "glc_"),
    _rule("linear-key", r"\blin_api_[A-Za-z0-9]{40}\b", "lin_api_"),
    _rule("notion-token", r"\bntn_[A-Za-z0-9]{43,50}\b", "ntn_"),
    _rule("age-key", r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}\b", "AGE-SECRET-KEY-1"),
    _rule(
        "authorization",
        r"(?i:authorization)[\"'\\]{0,2}\s{0,3}[:=]\s{0,3}[\"'\\]{0,2}(?i:bearer|basic|token)\s{1,4}"
        r"(?P<secret>[\w.~+/-]{8,8000}={0,2})",
        *("uthorization", "UTHORIZATION"),
    ),
    _rule("password", r"://[^\s/?#:@\"'<>\\]{0,256}:(?P<secret>[^\s/?#@\"'<>\\]{1,256})@", "://"),
    _rule(
        "password",
        r"[?&;](?:[\w.]{0,32}[_.-])?(?i:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig|auth)="
        r"(?P<secret>[^\s&;#\"'<>()\\]{1,4000})",
        "=",
    ),
    _rule("email", r"(?<![\w.+%-])(?!git@)[\w.+%-]{1,64}@(?:[^\W_](?:[^\W_]|-){0,62}\.){1,8}[^\W\d_]{2,63}", "@"),
)
"""Keys and tokens of common providers, private keys, passwords in URLs, authorization headers and e-mail addresses.

The providers and the forms of their tokens are those of the rules of gitleaks, https://github.com/gitleaks/gitleaks
(config/gitleaks.toml). The expressions take time in proportion to the text: each repetition has a limit or comes last.
"""

_MARK = re.compile(rf"(\[redacted(?: (?:{'|'.join(sorted({rule.name for rule in SECRETS}))}))?(?: [1-9][0-9]*)?\])")
"""Matches a mark, also one with a number, which keeps two keys apart."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Secrets of one kind at one place of a document."""

    place: str
    """Where, such as `name` or `history[2].messages[0].content`. A redacted key is shown with its mark."""
    rule: str
    """The kind, such as `email`. It is `pattern` for a regular expression of the caller."""
    count: int
    """How many."""
    excerpt: str
    """The redacted text around the first one. For an id that stays as it is, only the mark."""
    is_id: bool = False
    """Whether it is an id, which connects sessions, runs and users, and stays as it is."""


class Redactor:
    """Replaces what rules match in texts and in JSON values, and collects what it replaced in `found`."""

    def __init__(self, rules: Iterable[Rule], *, ids: bool = False) -> None:
        """Use the rules in this order. With `ids`, replace secrets in ids too, for a copy that no store has to read."""
        self._rules = tuple(rules)
        self._ids = ids
        self.found: list[Redaction] = []

    def text(self, text: str, place: str = "") -> str:
        """Return the text with each secret replaced by a mark. Marks of earlier calls stay as they are."""
        counts: dict[str, int] = {}
        marks: dict[str, str] = {}
        for rule in self._rules:
            if rule.hints and not any(hint in text for hint in rule.hints):
                continue
            pieces = _MARK.split(text)  # every second one is a mark
            for number in range(0, len(pieces), 2):
                pieces[number], count = _replaced(pieces[number], rule)
                if count:
                    marks[rule.name] = rule.mark
                    counts[rule.name] = counts.get(rule.name, 0) + count
            text = "".join(pieces)
        for name, count in counts.items():
            self.found.append(Redaction(place, name or "pattern", count, _excerpt(text, marks[name])))
        return text

    def record(self, name: RecordName, values: dict[str, Any], place: str = "") -> dict[str, Any]:
        """Return a copy of a record of the document format, such as a header or a run, with its secrets replaced."""
        fields = SHAPES[name].fields
        result: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        for key, value in values.items():
            if key in fields:
                result[key] = self._field(fields[key], key, value, f"{place}.{key}" if place else key)
            elif key == "item_id" and name == "entry":
                result[key] = self._id(value, f"{place}.{key}")
            else:
                self._put(result, numbers, key, value, place)
        return result

    def entry(self, values: dict[str, Any], place: str) -> dict[str, Any]:
        """Return a copy of an entry of the history with its secrets replaced."""
        kind = values.get("type")
        return self.record(cast("RecordName", kind) if kind in ("run", "update") else "entry", values, place)

    def value(self, value: Any, place: str) -> Any:
        """Return a copy of any JSON value with the secrets in its texts, numbers and keys replaced."""
        if isinstance(value, str):
            return self.text(value, place)
        if isinstance(value, list):
            return [self.value(item, f"{place}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, dict):
            result: dict[str, Any] = {}
            numbers: dict[str, int] = {}
            for key, item in value.items():
                self._put(result, numbers, key, item, place)
            return result
        if type(value) in (int, float):
            return self._number(value, place)
        return value

    def _put(self, result: dict[str, Any], numbers: dict[str, int], key: str, value: Any, place: str) -> None:
        """Add a key of the user's own and its value. Keys that would become the same get numbers, kept in `numbers`."""
        name = new = self.text(key, f"{place} (key)".lstrip())
        while name in result:
            numbers[new] = numbers.get(new, 1) + 1
            name = _MARK.sub(lambda mark: f"{mark[0][:-1]} {numbers[new]}]", new, count=1)
        result[name] = self.value(value, f"{place}.{name}" if place else name)

    def _number(self, value: float, place: str) -> float | str:
        text = str(value)
        redacted = self.text(text, place)
        return value if redacted == text else _MARK.findall(redacted)[0]

    def _field(self, kind: FieldType, key: str, value: Any, place: str) -> Any:
        if kind in _FIXED or (key in _WORDS and isinstance(value, str)):
            return value
        if key in _IDS:
            return self._id(value, place)
        if kind == "times by id" and isinstance(value, dict):
            return {self._id(name, place): time for name, time in value.items()}
        of = kind.removeprefix("text or ").removeprefix("list of ")
        if of in SHAPES and isinstance(value, list):
            items = [(item, f"{place}[{number}]") for number, item in enumerate(value)]
            return [self._item(of, item, where) for item, where in items]
        if of in SHAPES:
            return self._item(of, value, place)
        return self.value(value, place)

    def _item(self, of: str, value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            return self.value(value, place)
        return self.entry(value, place) if of == "entry" else self.record(cast("RecordName", of), value, place)

    def _id(self, value: Any, place: str) -> Any:
        if self._ids or not isinstance(value, str):
            return self.value(value, place)
        before = len(self.found)
        self.text(value, place)
        self.found[before:] = [
            Redaction(one.place, one.rule, one.count, _MARK.findall(one.excerpt)[0], is_id=True)
            for one in self.found[before:]
        ]
        return value


def _replaced(text: str, rule: Rule) -> tuple[str, int]:
    """Return a text with the matches of a rule replaced, and how many there are. Empty matches are left alone."""
    count = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal count
        begin, end = match.span("secret" if "secret" in match.re.groupindex else 0)
        if begin == end:  # nothing, or a group without a match
            return match[0]
        count += 1
        return f"{match[0][: begin - match.start()]}{rule.mark}{match[0][end - match.start() :]}"

    return rule.expression.sub(mark, text), count


def _excerpt(text: str, mark: str) -> str:
    at = text.find(mark)
    begin, end = max(0, at - _AROUND), at + len(mark) + _AROUND
    words = " ".join(text[begin:end].split())
    return f"{'…' if begin else ''}{words}{'…' if end < len(text) else ''}"


def rules_from(saved: Sequence[Sequence[str]]) -> tuple[Rule, ...]:
    """Return the rules that `saved_rules` returned. Raises ValueError if one is not valid."""
    return tuple(rule_of(expression)._replace(name=name) for name, expression in saved)


def saved_rules(rules: Iterable[Rule]) -> list[list[str]]:
    """Return rules as JSON values: the name and the expression of each."""
    return [[rule.name, rule.expression.pattern] for rule in rules]
