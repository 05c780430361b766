"""The characters that a terminal, a pager or an editor acts on, and does not show."""

CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # marks that reorder text
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # line and paragraph separators, byte order mark, annotations
    "\ud800-\udfff"  # lone surrogates
)
"""These characters as ranges for a class of a regular expression: `re.compile(f"[{CONTROL}]")`."""
