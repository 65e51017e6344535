from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from reports.verification import NotAPackage, Verified, copy_original, verify

EXIT_HOLDS, EXIT_CHANGED, EXIT_UNUSABLE, EXIT_NOT_REPEATED, EXIT_OTHER_SCORES = 0, 1, 2, 3, 4
ROWS = 10


class Command(BaseCommand):
    help = (
        "Check an evidence package: that nothing in it was changed, and whose signature it carries. Needs neither a "
        "database nor a network. Exit code 0: everything holds, 1: something was changed, 2: it is no package, 3: the "
        "examination cannot be repeated here, 4: repeated, it gives another verdict or other scores."
    )
    # It must work where nothing of a site is set up.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the package, a ZIP file")
        parser.add_argument(
            "--certificate",
            type=Path,
            metavar="PEM",
            help="the certificates of the site that must have signed it: from its page /check/, not from the package",
        )
        parser.add_argument(
            "--reproduce",
            action="store_true",
            help="examine the file again with the very same detector and compare every score",
        )
        parser.add_argument(
            "--weights",
            nargs="+",
            action="extend",
            type=Path,
            default=[],
            metavar="PATH",
            help="where the detector's checkpoints are, if not where it expects them",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            trusted = options["certificate"].read_bytes() if options["certificate"] else None
            found = verify(options["file"], trusted=trusted)
        except (NotAPackage, OSError) as error:
            self._say(options, {"holds": False, "error": str(error)}, [f"This is no evidence package: {error}"])
            sys.exit(EXIT_UNUSABLE)
        report: dict[str, Any] = {
            "holds": found.holds,
            "fingerprint": found.fingerprint,
            "findings": [
                {"what": finding.what, "holds": finding.holds, "text": finding.text} for finding in found.findings
            ],
        }
        lines = [
            f"{_mark(finding.holds, known=finding.what != 'certificate' or trusted is not None)} "
            f"{finding.what}: {finding.text}"
            for finding in found.findings
        ]
        if not found.holds:
            lines.append("This package was changed. Do not rely on it.")
        elif trusted is None:
            lines.append("Everything holds, if that fingerprint is the site's.")
        else:
            lines.append("Everything holds.")
        code = EXIT_HOLDS if found.holds else EXIT_CHANGED
        if options["reproduce"]:
            if found.holds:
                code = self._reproduce(options, found, report, lines)
            else:
                lines.append("A changed package is not examined again.")
        self._say(options, report, lines)
        if code:
            sys.exit(code)

    def _reproduce(self, options: dict[str, Any], found: Verified, report: dict[str, Any], lines: list[str]) -> int:
        # Only here: checking a package needs no network to be loaded.
        from ml.reproduction import TOLERANCE, NotReproducible, reproduce

        numbers: Any = found.numbers
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "original"
            with path.open("wb") as target:
                copy_original(options["file"], found.original, target)
            try:
                again = reproduce(
                    path,
                    numbers["result"],
                    software_version=numbers["analysis"]["software_version"],
                    weights=options["weights"],
                )
            except NotReproducible as error:
                report["reproduction"] = {"refusal": str(error.refusal), "detail": error.detail}
                lines.append(f"The examination cannot be repeated here ({error.refusal}): {error.detail}")
                return EXIT_NOT_REPEATED
        report["reproduction"] = {
            "same": again.same,
            "verdict_then": again.verdict_then,
            "verdict_now": again.verdict_now,
            "faces": again.faces,
            "largest_difference": again.largest,
            "tolerance": TOLERANCE,
            "other_software": again.other_software,
        }
        verdicts = " ".join(again.verdict_then).strip(), " ".join(again.verdict_now).strip()
        lines.append(f"Examined again: {verdicts[1]}" + ("" if verdicts[0] == verdicts[1] else f", was {verdicts[0]}"))
        lines += [
            f"      {name} {then} then, {now or 'missing'} here" for name, then, now in again.other_software if then
        ]
        lines.append(f"{again.faces} faces; the largest differences of {len(again.differences)} scores:")
        lines += [
            f"      {_number(each.then)}  {_number(each.now)}  {each.size:.6f}  {each.what}"
            for each in again.differences[:ROWS]
        ]
        same = f"No score differs by more than {TOLERANCE}, and the verdict is the same."
        lines.append(same if again.same else f"WRONG: the verdict, or a score by more than {TOLERANCE}, is another.")
        return EXIT_HOLDS if again.same else EXIT_OTHER_SCORES

    def _say(self, options: dict[str, Any], report: dict[str, Any], lines: list[str]) -> None:
        self.stdout.write(json.dumps(report) if options["json"] else "\n".join(map(_printable, lines)))


def _mark(holds: bool, *, known: bool) -> str:
    return ("ok   " if known else "?    ") if holds else "WRONG"


def _printable(line: str) -> str:
    """Names in a package may be a stranger's: none of them shall write lines of its own, or move the cursor."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


def _number(score: float | None) -> str:
    return "missing " if score is None else f"{score:.6f}"
