"""Export sessions as text. Each format is a pure function from sessions to pieces of text."""

from localstore.exporting.atif import atif_lines
from localstore.exporting.html_page import html_page
from localstore.exporting.json_array import json_array
from localstore.exporting.markdown_text import markdown_text
from localstore.exporting.openai_lines import openai_lines
from localstore.exporting.redaction import without_secrets
from localstore.exporting.selection import only_rated

__all__ = ["atif_lines", "html_page", "json_array", "markdown_text", "only_rated", "openai_lines", "without_secrets"]
