"""Secrets in texts and JSON values: what is replaced, and what stays."""

from collections.abc import Callable
from typing import Any

import pytest

from localstore.format.redaction import SECRETS, Redactor, Rule, rule_of, rules_from, saved_rules
from localstore.models.session import Session
from tests.linear_time import assert_linear

A = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA"
"""32 letters and digits. The samples are put together, so that no scanner takes this file for a leak."""
SAMPLES = {
    "private-key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEow==\n-----END RSA PRIVATE " + "KEY-----",
    "jwt": "ey" + A + ".ey" + A + "." + A,
    "anthropic-key": "sk-" + "ant-api03-" + A * 3 + "AA",
    "openrouter-key": "sk-" + "or-v1-" + "0f" * 32,
    "openai-key": "sk-" + "proj-" + A + "T3Blbk" + A,
    "groq-key": "gsk" + "_" + A + A[:20],
    "perplexity-key": "pplx" + "-" + A + A[:16],
    "xai-key": "xai" + "-" + A + A + A[:16],
    "replicate-token": "r8" + "_" + A + A[:5],
    "huggingface-token": "hf" + "_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "aws-key": "AKI" + "AABCDEFGHIJ234567",
    "google-key": "AI" + "za" + A + "abc",
    "azure-key": "AccountKey=" + "aB3+" * 21 + "aB==",
    "github-token": "ghp" + "_" + A + "abcd",
    "gitlab-token": "glpat" + "-" + A[:20],
    "slack-token": "xoxb" + "-123456789012-123456789012-" + A[:24],
    "slack-webhook": "https://hooks.slack" + ".com/services/T00000000/B00000000/" + A[:24],
    "discord-webhook": "https://discord" + ".com/api/webhooks/123456789012345678/" + A + A,
    "telegram-token": "123456789" + ":AA" + A + "a",
    "stripe-key": "sk" + "_live_" + A,
    "sendgrid-key": "SG" + "." + A[:22] + "." + A + A[:11],
    "twilio-key": "SK" + "0f" * 16,
    "npm-token": "npm" + "_" + A + "abcd",
    "pypi-token": "pypi" + "-AgEIcHlwaS5vcmc" + A + A,
    "digitalocean-token": "dop" + "_v1_" + "0f" * 32,
    "databricks-token": "dapi" + "0f" * 16,
    "vault-token": "hvs" + "." + A,
    "terraform-token": A[:14] + ".atlas" + "v1." + A + A[:30],
    "shopify-token": "shpat" + "_" + "0f" * 16,
    "grafana-token": "glsa" + "_" + A + "_0f0f0f0f",
    "linear-key": "lin_api" + "_" + A + A[:8],
    "notion-token": "ntn" + "_" + A + A[:11],
    "age-key": "AGE-SECRET" + "-KEY-1" + "Q" * 58,
    "authorization": "Authorization: Bearer " + A,
    "password": "postgres://admin:" + "hunter2@db.example/x",
    "email": "alice.b+c@mail.example.com",
}


def redacted(text: str, *rules: Rule) -> str:
    return Redactor(rules or SECRETS).text(text)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_of_secret_is_replaced_wherever_it_stands(name: str) -> None:
    """The rest of the text stays, and a second time nothing is found."""
    for before, after in (("", ""), ("key: ", "\n"), ('{"k": "', '"}'), ("(", ")."), ("ü ", " ü")):
        redactor = Redactor(SECRETS)
        text = redactor.text(f"{before}{SAMPLES[name]}{after}")
        assert f"[redacted {name}]" in text
        assert (text[: len(before)], text.endswith(after)) == (before, True)
        assert not any(part in text for part in (A[:14], "0f0f", "hunter2", "MIIE", "QQQ", "alice", "ABCDEFG", "aB3+"))
        assert [one.rule for one in redactor.found] == [name]
        assert redacted(text) == text


def test_every_rule_has_a_sample() -> None:
    assert {rule.name for rule in SECRETS} == set(SAMPLES)


@pytest.mark.parametrize(
    "text",
    [
        "The sk-learn-contrib package and sk-or nothing",
        "https://example.com/a:b/c@d and http://localhost:8000/x",
        "see -----BEGIN PRIVATE" + " KEY----- in the manual, and do not paste it",
        "id 0f8fad5b-d9cb-469f-a165-70867728950e, sha 9d7907390f2c3f1d2b7a8c10aa55bb66cc77dd88",
        "@alice wrote alice@ and @example.com to git@github.com:org/repo",
        "is the key 5 or basic characteristics of authorization",
        "[redacted email] and [redacted]",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    kept = redacted(text).replace("[redacted private-key]", "-----BEGIN PRIVATE" + " KEY-----")
    assert kept == text


def test_parts_of_urls_and_headers_are_replaced_alone() -> None:
    assert redacted("https://x.org/?a=1&api_key=s3cr3t&b=2") == "https://x.org/?a=1&api_key=[redacted password]&b=2"
    assert redacted("redis://:" + "hunter2@h:1/0") == "redis://:[redacted password]@h:1/0"
    header = "curl -H 'authorization: Basic dXNlcjpwYXNz' x"
    assert redacted(header) == "curl -H 'authorization: Basic [redacted authorization]' x"
    assert redacted("AWS_SECRET_ACCESS_KEY=" + "a/B+" * 10) == "AWS_SECRET_ACCESS_KEY=[redacted aws-key]"


def test_a_key_without_its_end_is_replaced_as_far_as_it_goes() -> None:
    cut_off = "-----BEGIN PRIVATE" + " KEY-----\n" + f"{A}{A}\n" * 3 + "… (output truncated)"
    assert redacted(cut_off) == "[redacted private-key]\n… (output truncated)"


def test_a_pattern_of_the_caller_replaces_its_match_or_its_group() -> None:
    assert redacted("Linz and linz", rule_of("(?i)linz")) == "[redacted] and [redacted]"
    assert redacted("pin: 1234, pin:", rule_of(r"pin:( (?P<secret>\d+))?")) == "pin: [redacted], pin:"
    assert redacted("abc", rule_of("x*")) == "abc"
    assert redacted("red", rule_of(r"\w+")) == redacted("[redacted]", rule_of(r"\w+")) == "[redacted]"
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression: .* Correct it"):
        rule_of("(")


def test_keys_numbers_and_nested_values_are_replaced_and_places_are_named() -> None:
    redactor = Redactor([rule_of("4111|vienna")])
    value = {"vienna": [4111, 41.5, True, None], "vienna ": {"x": "to vienna and vienna"}, "a vienna": 1}
    assert redactor.value(value, "state") == {
        "[redacted]": ["[redacted]", 41.5, True, None],
        "[redacted] ": {"x": "to [redacted] and [redacted]"},
        "a [redacted]": 1,
    }
    places = [(one.place, one.count) for one in redactor.found]
    assert ("state.[redacted][0]", 1) in places
    assert ("state.[redacted] .x", 2) in places
    assert ("state (key)", 1) in places
    assert all("vienna" not in f"{one.place}{one.excerpt}" for one in redactor.found)
    assert Redactor([rule_of("[ab]")]).value({"a": 1, "b": 2}, "") == {"[redacted]": 1, "[redacted 2]": 2}


TIME = "2026-11-22T07:01:20.130Z"
RUN: dict[str, Any] = {
    "type": "run",
    "run_id": "a@b.example",
    "created_at": TIME,
    "input": {"to": "a@b.example"},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a@b.example"}], "name": "a@b.example"},
        {"role": "assistant", "tool_calls": [{"id": "a@b.example", "name": "t", "arguments": {"x": ["a@b.example"]}}]},
        {
            "role": "tool",
            "tool_call_id": "a@b.example",
            "content": "a@b.example",
            "state_changes": {"k": "a@b.example"},
        },
    ],
    "member_runs": [
        {
            "type": "run",
            "run_id": "m",
            "created_at": TIME,
            "messages": [{"role": "user", "content": "a@b.example"}],
        }
    ],
    "steps": [
        {
            "name": "a@b.example",
            "created_at": TIME,
            "output": {"y": "a@b.example"},
            "messages": [{"role": "user", "content": "a@b.example"}],
        }
    ],
    "session_state": {"a@b.example": "a@b.example"},
    "imported": {"from": "a@b.example"},
    "metrics": {"input_tokens": 5},
    "rating_note": "a@b.example",
    "error": "a@b.example",
    "status": "error",
}


def test_all_text_of_a_run_is_replaced_and_ids_are_named() -> None:
    redactor = Redactor(SECRETS)
    new = redactor.entry(RUN, "history[0]")
    ids = [new["run_id"], new["messages"][1]["tool_calls"][0]["id"], new["messages"][2]["tool_call_id"]]
    assert ids == ["a@b.example"] * 3
    assert str(new).count("a@b.example") == 3
    assert [one.place for one in redactor.found if one.is_id] == [
        "history[0].run_id",
        "history[0].messages[1].tool_calls[0].id",
        "history[0].messages[2].tool_call_id",
    ]
    assert "a@b.example" not in str(Redactor(SECRETS, ids=True).entry(RUN, ""))


@pytest.mark.parametrize("pattern", [r"[\s\S]+", r"\w", "5|run|error|user|text|messages|role"])
def test_no_pattern_makes_a_document_invalid(pattern: str) -> None:
    redactor = Redactor([rule_of(pattern)])
    header = {
        "schema_version": 1,
        "session_id": "s",
        "kind": "agent",
        "created_at": TIME,
        "tags": ["x"],
        "name": "n",
    }
    entry = redactor.entry(RUN, "")
    Session.model_validate({**redactor.record("header", header), "history": [entry]})
    assert [message["role"] for message in entry["messages"]] == ["user", "assistant", "tool"]
    assert (entry["type"], entry["status"], entry["metrics"], entry["created_at"]) == (
        *("run", "error"),
        *({"input_tokens": 5}, TIME),
    )


def test_an_item_of_another_framework_keeps_its_id() -> None:
    item = {"type": "item", "item_id": "a@b.example", "source": "x", "data": {"content": "a@b.example"}}
    new = Redactor(SECRETS).entry(item, "history[0]")
    assert (new["item_id"], new["data"]) == ("a@b.example", {"content": "[redacted email]"})


def test_an_excerpt_shows_the_text_around_a_secret_without_any() -> None:
    redactor = Redactor(SECRETS)
    redactor.text(f"{'x' * 50} mail\nalice@example.com or {SAMPLES['github-token']} please {'y' * 50}", "name")
    assert all("alice" not in one.excerpt and A[:8] not in one.excerpt for one in redactor.found)
    assert "mail [redacted email] or [red" in redactor.found[1].excerpt
    assert redactor.found[1].excerpt.startswith("…")


def test_saved_rules_replace_the_same() -> None:
    rules = (*SECRETS, rule_of("(?i)linz"))
    text = " ".join([*SAMPLES.values(), "LINZ"])
    assert redacted(text, *rules_from(saved_rules(rules))) == redacted(text, *rules)


HARD = {
    "words": "a",
    "at signs": "a@",
    "domains": "a@a.",
    "dots": "a.",
    "dashes": "-",
    "begins": "-----BEGIN PRIVATE" + " KEY-----",
    "begins of lines": "-----BEGIN PRIVATE" + " KEY-----\n" + A,
    "tokens": "ey" + A + ".ey",
    "short tokens": "sk-ant-api03-",
    "links": "://a:",
    "queries": "&a_token",
    "assignments": "&token=",
    "headers": "authorization: bearer ",
    "spaces": "secret_access_key   ",
    "hosts": "hooks.slack.com/services/",
    "versions": A[:14] + ".atlasv1.",
    "gitlab": "glpat-",
}


@pytest.mark.parametrize("name", HARD)
def test_no_text_takes_more_than_linear_time(name: str) -> None:
    """All hints are in the text, so that each expression searches all of it."""
    hints = " ".join(hint for rule in SECRETS for hint in rule.hints)

    def work(size: int) -> Callable[[], object]:
        text = f"{hints} {HARD[name] * (size // len(HARD[name]))}"
        return lambda: redacted(text)

    assert_linear(work, 10_000)
