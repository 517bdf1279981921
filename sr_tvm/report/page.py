"""report.html: one page from a run folder, with nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from sr_tvm import __version__
from sr_tvm.errors import SrTvmError
from sr_tvm.report import picture_section, run_folder, sections
from sr_tvm.report.html_parts import environment, facts
from sr_tvm.system import files

PAGE = "report.html"
_HERE = Path(__file__).parent
SECTIONS = (
    picture_section.pictures,
    sections.architecture,
    sections.passes,
    sections.tuning,
    sections.operators,
    sections.parity,
    sections.speed,
    sections.every_target,
    sections.how,
)


def write_report(folder: str | Path) -> Path:
    """Write report.html from a run folder's summary.json and the files that it names.

    The page stands alone: pictures are data URIs, drawings inline SVG, and its content policy forbids loading anything.
    A part that the run has not made is left out.

    Args:
        folder: Of the run.

    Returns:
        The path of the page, in ``folder``.

    Raises:
        SrTvmError: No summary there, it is not ours, or a field of it is missing or of a wrong kind.
    """
    folder = Path(folder)
    summary = run_folder.load(folder)
    parts, part = [], "header"
    try:
        title, lead = summary.title, summary.lead
        top = facts(sections.headline(summary))
        for make in SECTIONS:
            part = make.__name__
            parts.append(make(summary, folder))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, ZeroDivisionError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)[:200]
        where = folder / run_folder.SUMMARY
        raise SrTvmError(f"{where}: cannot write the part '{part}' of the page: {reason}") from error
    script = picture_section.SCRIPT
    page = environment().get_template("page.html.j2").render(
        title=title, lead=lead, facts=top, sections=parts, script=Markup(script), version=__version__,
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8").strip()),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip
    with files.atomic_file(folder / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / PAGE
