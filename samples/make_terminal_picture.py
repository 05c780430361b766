"""Make the picture of the README: two runs of the quickstart and the list of sessions, as a terminal shows them.

python samples/make_terminal_picture.py [FILE]        writes samples/terminal.svg if FILE is left out

It needs a pseudo-terminal: Linux or macOS.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

SAMPLES = Path(__file__).resolve().parent
COLUMNS = 80
HOME = "/home/alice"
QUICKSTART = ("python samples/quickstart.py", [sys.executable, str(SAMPLES / "quickstart.py")])
LIST = ("localstore ls", [sys.executable, "-c", "from localstore_cli.app import main; main()", "ls"])
SCREEN = [QUICKSTART, QUICKSTART, LIST]
_WEB_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_ERASED = re.compile(r"[^\n]*\r\x1b\[2K")


def output_on_terminal(command: list[str], folder: Path) -> str:
    """Run a command in a pseudo-terminal and return what it leaves there, with its colours."""
    import fcntl
    import pty
    import termios

    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    unset = ("OPENAI_", "LOCALSTORE_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
    environment |= {"TERM": "xterm-256color", "TZ": "UTC", "PYTHONUTF8": "1"}
    with subprocess.Popen(  # noqa: S603 - our own commands
        command, cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        output = b""
        while part := _read(screen):
            output += part
    os.close(screen)
    if process.returncode != 0:
        raise RuntimeError(f"{command} failed: {output.decode()}")
    text = output.decode().replace("\r\n", "\n").replace(str(folder), HOME)
    return _ERASED.sub("", text)


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:  # Linux raises it when the process has closed the terminal
        return b""


def screen_text(folder: Path) -> Text:
    """Return the whole screen: each command behind a prompt, and its output."""
    text = Text()
    for line, command in SCREEN:
        text.append("$ ", style="bold green").append(f"{line}\n", style="bold")
        text.append_text(Text.from_ansi(output_on_terminal(command, folder).rstrip("\n"))).append("\n\n")
    text.rstrip()
    return text


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES / "terminal.svg"
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(screen_text(Path(folder).resolve()), soft_wrap=True)
    svg = console.export_svg(title="localstore", theme=MONOKAI, unique_id="localstore")
    # No font from the network: a reader's own monospace font is as good.
    target.write_text(_WEB_FONT.sub("", svg), encoding="utf-8")
    print(f"Wrote {target}")


if __name__ == "__main__":
    main()
