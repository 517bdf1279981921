"""The sections of the page that tell of numbers. Each takes the summary and its folder, and gives HTML or nothing."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.report import figures
from sr_tvm.report.architecture_figure import architecture_svg
from sr_tvm.report.html_parts import amount, code, heading, ms, para, section, table, wide
from sr_tvm.report.summary import Summary


def architecture(summary: Summary, folder: Path) -> str:
    """Build the section that draws the network.

    Args:
        summary: Of the run.
        folder: Of the run, for messages.

    Returns:
        HTML; "" if the run has no architecture.

    Raises:
        SrTvmError: The architecture is not one.
    """
    if not summary.architecture:
        return ""
    a = Architecture.from_json(summary.architecture, f"{folder}: field architecture")
    depth = f"{len(a.blocks)} block{'s' * (len(a.blocks) != 1)}"
    words = f"WDSR-B, x{a.scale}, {depth} of {a.channels} channels, {a.params:,} parameters."
    return section(
        "The network", para(words), wide(architecture_svg(a)),
        para("Numbers are output channels, and boxes are as high as their layer is wide. The arcs are the residual "
             "connections of the blocks.", note=True),
    )  # fmt: skip


def parity(summary: Summary, folder: Path) -> str:
    """Build the section that compares the outputs of each step with PyTorch's.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if nothing was compared.
    """
    if not summary.parity:
        return ""
    ok, off = Markup("equal"), Markup('<span class="bad">off</span>')
    body = [(r.name, f"{r.max_abs_err:.1e}", f"{r.tolerance:.1e}", ok if r.ok else off) for r in summary.parity]
    return section(
        "The same result at every step",
        para("The largest difference of any output value from PyTorch's, for the same input."),
        table(("step", "largest difference", "allowed", ""), body, {1, 2}),
    )


def passes(summary: Summary, folder: Path) -> str:
    """Build the section on what the passes did: kernels, traffic and fusions before and after.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if the run has no report of the passes.
    """
    p = summary.passes
    if not p:
        return ""
    counts = [("kernels", str(int(p["kernels_before"])), str(int(p["kernels_after"])))]
    if p.get("intermediate_bytes_before") is not None:
        before, after = int(p["intermediate_bytes_before"]), int(p["intermediate_bytes_after"])
        counts.append(("bytes written between kernels", f"{before:,}", f"{after:,}"))
    parts = [table(("", "before", "after"), counts, {1, 2})]
    fusions = p.get("fusions") or []
    if fusions:
        # Blocks repeat: equal kernels share a row.
        count: dict[tuple[str, str, str], int] = {}
        for f in fusions:
            key = (str(f["kernel"]), " → ".join(map(str, f["operators"])), str(f.get("rule", "")))
            count[key] = count.get(key, 0) + 1
        shown = list(count.items())[:60]
        rows = [(f"{n}×", code(name), ops, rule) for (name, ops, rule), n in shown]
        heads = ("", "kernel", "operators", "rule")
        parts += [heading("Which operators became one kernel"), table(heads, rows, {0})]
    return section("What the passes did", *parts)


def operators(summary: Summary, folder: Path) -> str:
    """Build the section that shows the time of each operator.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if operators were not measured.
    """
    if not summary.per_operator:
        return ""
    note = para(summary.per_operator_note, note=True) if summary.per_operator_note else ""
    return section("Time by operator", wide(figures.operator_bars(summary.per_operator)), note)


def tuning(summary: Summary, folder: Path) -> str:
    """Build the section on what the tuner found.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if nothing was tuned.
    """
    t = summary.tuning
    if not t:
        return ""
    words = f"{t.trials} candidates measured by the genetic tuner (seed {t.seed})."
    if t.default_ms and t.tuned_ms:
        words += (f" The network took {ms(t.default_ms)} as the defaults make it and {ms(t.tuned_ms)} with the best "
                  f"ones found, {t.default_ms / t.tuned_ms:.2f} times as fast.")  # fmt: skip
    elif t.kernels_default_ms and t.kernels_best_ms is not None and t.kernels_best_ms >= t.kernels_default_ms:
        words += " None was faster than the default, which the build then keeps."
    drawing = wide(figures.tuning_curve(t.history)) if t.history else ""
    legend = "A dot is a candidate, a line the best so far of one region or kernel. "
    return section("Tuning", para(words), drawing, para(legend + t.note, note=True) if t.history else "")


def speed(summary: Summary, folder: Path) -> str:
    """Build the section that compares the speed model with what was measured.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if no networks were compared.
    """
    s = summary.speed
    if not s or not s.rows:
        return ""
    body = []
    for r in s.rows:
        error = f"{100 * (r.predicted - r.measured) / r.measured:+.1f} %"
        body.append((r.name, ms(r.measured), ms(r.predicted), error))
    strong = {i for i, r in enumerate(s.rows) if r.this}
    return section(
        "Predicted against measured", *map(para, s.method), wide(figures.predicted_scatter(s.rows)),
        table(("architecture", "measured", "predicted", "error"), body, {1, 2, 3}, strong),
    )  # fmt: skip


def every_target(summary: Summary, folder: Path) -> str:
    """Build the section with a row for each target: its time, and how that was found.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if only one target was built.
    """
    t = summary.every_target
    if not t:
        return ""
    rows = []
    for r in t.rows:
        took = "" if r.seconds is None else f"{r.seconds:.0f} s"
        rows.append((r.target, r.time or "not here", r.how, took))
    heads = ("target", "a picture takes", "how", "found in")
    return section("The same network on every target", para(t.note), table(heads, rows, {3}))


def how(summary: Summary, folder: Path) -> str:
    """Build the section on how it was measured: conditions, machine, versions, and the time of each step.

    Args:
        summary: Of the run.
        folder: Of the run.

    Returns:
        HTML; "" if the summary tells nothing of it.
    """
    parts = [para(line) for line in summary.method]
    if summary.measurement:
        m = Measurement.from_json(summary.measurement)
        low, high = m.interval
        conditions = ", ".join(f"{k} {v}" for k, v in sorted(m.conditions.items()))
        parts.append(para(f"{m.device}, target {m.target}, input {'x'.join(map(str, m.input_shape))}: median of "
                          f"{len(m.samples)} runs {m.median:.2f} {m.unit}, middle half {low:.2f} to {high:.2f}. "
                          f"Conditions: {conditions or 'none given'}."))  # fmt: skip
    for title, facts in (("Machine", summary.machine), ("Versions", summary.versions)):
        if facts:
            parts += [heading(title), table(("", ""), list(facts.items()), set())]
    if summary.steps:
        rows = [(s.name, f"{s.seconds:.1f} s") for s in summary.steps]
        parts += [heading("Time of each step"), table(("step", "seconds"), rows, {1})]
    return section("How it was measured", *parts) if parts else ""


def headline(summary: Summary) -> list[tuple[str, str, str]]:
    """Collect the figures at the top of the page, as far as the run has them.

    Args:
        summary: Of the run.

    Returns:
        (name, value, what it means) of each.
    """
    items = []
    if summary.measurement:
        m = Measurement.from_json(summary.measurement)
        items.append(("time", f"{m.median:.3g} {m.unit}", "x".join(map(str, m.input_shape)) + " input"))
    compare = summary.pictures.compare if summary.pictures else None
    if compare:
        gain = compare.psnr_ours - compare.psnr_bicubic
        items.append(("PSNR-Y", f"{compare.psnr_ours:.2f} dB", f"{gain:+.2f} dB against bicubic"))
    if summary.model and summary.model.params:
        macs = f"{amount(float(summary.model.macs))}MAC at that input" if summary.model.macs else ""
        items.append(("parameters", amount(float(summary.model.params)), macs))
    if summary.passes:
        p = summary.passes
        items.append(("kernels", str(int(p["kernels_after"])), f"from {int(p['kernels_before'])}"))
    return items
