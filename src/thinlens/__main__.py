"""The command `thinlens`, also `python -m thinlens`."""

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code.

    `--version` alone answers before anything is imported: scripts and shells ask for it often.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files go
    try:
        if sys.argv[1:] == ["--version"]:
            from importlib.metadata import version

            sys.stdout.write(f"thinlens {version('thinlens')}\n")
            code = 0
        else:
            from thinlens.cli.app import run

            code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("thinlens: interrupted\n")
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":
    main()
