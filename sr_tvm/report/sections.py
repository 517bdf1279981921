"""The sections of the page that tell of numbers. Each takes the summary and its folder, and gives HTML or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from sr_tvm.architecture import Architecture
from sr_tvm.measurement import Measurement
from sr_tvm.report import figures
from sr_tvm.report.architecture_figure import architecture_svg
from sr_tvm.report.html_parts import amount, code, heading, ms, para, section, table, wide


def architecture(summary: dict[str, Any], folder: Path) -> str:
    if not summary.get("architecture"):
        return ""
    a = Architecture.from_json(summary["architecture"], f"{folder}: field architecture")
    depth = f"{len(a.blocks)} block{'s' * (len(a.blocks) != 1)}"
    words = f"WDSR-B, x{a.scale}, {depth} of {a.channels} channels, {a.params:,} parameters."
    return section(
        "The network", para(words), wide(architecture_svg(a)),
        para("Numbers are output channels, and boxes are as high as their layer is wide. The arcs are the residual "
             "connections of the blocks.", note=True),
    )  # fmt: skip


def parity(summary: dict[str, Any], folder: Path) -> str:
    rows = summary.get("parity")
    if not rows:
        return ""
    ok, off = Markup("equal"), Markup('<span class="bad">off</span>')
    body = [(r["name"], f"{float(r['max_abs_err']):.1e}", f"{float(r['tolerance']):.1e}", ok if r["ok"] else off)
            for r in rows]  # fmt: skip
    return section(
        "The same result at every step",
        para("The largest difference of any output value from PyTorch's, for the same input."),
        table(("step", "largest difference", "allowed", ""), body, {1, 2}),
    )


def passes(summary: dict[str, Any], folder: Path) -> str:
    p = summary.get("passes")
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


def operators(summary: dict[str, Any], folder: Path) -> str:
    rows = summary.get("per_operator")
    if not rows:
        return ""
    note = summary.get("per_operator_note", "")
    return section("Time by operator", wide(figures.operator_bars(rows)), para(note, note=True) if note else "")


def tuning(summary: dict[str, Any], folder: Path) -> str:
    t = summary.get("tuning")
    if not t:
        return ""
    words = f"{int(t['trials'])} candidates measured by the genetic tuner (seed {int(t['seed'])})."
    if t.get("default_ms") and t.get("tuned_ms"):
        faster = float(t["default_ms"]) / float(t["tuned_ms"])
        words += (f" The network took {ms(float(t['default_ms']))} as the defaults make it and "
                  f"{ms(float(t['tuned_ms']))} with the best ones found, {faster:.2f} times as fast.")  # fmt: skip
    elif t.get("kernels_default_ms") and float(t["kernels_best_ms"]) >= float(t["kernels_default_ms"]):
        words += " None was faster than the default, which the build then keeps."
    history = t.get("history") or []
    drawing = wide(figures.tuning_curve(history)) if history else ""
    legend = "A dot is a candidate, a line the best so far of one region or kernel. "
    note = legend + str(t.get("note", "")) if history else ""
    return section("Tuning", para(words), drawing, para(note, note=True) if note else "")


def speed(summary: dict[str, Any], folder: Path) -> str:
    s = summary.get("speed")
    if not s or not s.get("rows"):
        return ""
    rows, body = s["rows"], []
    for r in rows:
        measured, predicted = float(r["measured"]), float(r["predicted"])
        body.append((r["name"], ms(measured), ms(predicted), f"{100 * (predicted - measured) / measured:+.1f} %"))
    strong = {i for i, r in enumerate(rows) if r.get("this")}
    return section(
        "Predicted against measured", *(para(str(w)) for w in s.get("method", [])),
        wide(figures.predicted_scatter(rows)),
        table(("architecture", "measured", "predicted", "error"), body, {1, 2, 3}, strong),
    )  # fmt: skip


def every_target(summary: dict[str, Any], folder: Path) -> str:
    t = summary.get("every_target")
    if not t:
        return ""
    rows = []
    for r in t["rows"]:
        took = "" if r.get("seconds") is None else f"{float(r['seconds']):.0f} s"
        rows.append((r["target"], r["time"] or "not here", r["how"], took))
    heads = ("target", "a picture takes", "how", "found in")
    return section("The same network on every target", para(str(t["note"])), table(heads, rows, {3}))


def how(summary: dict[str, Any], folder: Path) -> str:
    parts = [para(str(line)) for line in summary.get("method", [])]
    if summary.get("measurement"):
        m = Measurement.from_json(summary["measurement"])
        low, high = m.interval
        conditions = ", ".join(f"{k} {v}" for k, v in sorted(m.conditions.items()))
        parts.append(para(f"{m.device}, target {m.target}, input {'x'.join(map(str, m.input_shape))}: median of "
                          f"{len(m.samples)} runs {m.median:.2f} {m.unit}, middle half {low:.2f} to {high:.2f}. "
                          f"Conditions: {conditions or 'none given'}."))  # fmt: skip
    for title, field in (("Machine", "machine"), ("Versions", "versions")):
        if summary.get(field):
            parts += [heading(title), table(("", ""), list(summary[field].items()), set())]
    if summary.get("steps"):
        rows = [(s["name"], f"{float(s['seconds']):.1f} s") for s in summary["steps"]]
        parts += [heading("Time of each step"), table(("step", "seconds"), rows, {1})]
    return section("How it was measured", *parts) if parts else ""


def headline(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures at the top of the page, as far as the run has them."""
    items = []
    if summary.get("measurement"):
        m = Measurement.from_json(summary["measurement"])
        items.append(("time", f"{m.median:.3g} {m.unit}", "x".join(map(str, m.input_shape)) + " input"))
    compare = (summary.get("pictures") or {}).get("compare") or {}
    if compare.get("psnr_ours") is not None:
        gain = float(compare["psnr_ours"]) - float(compare["psnr_bicubic"])
        items.append(("PSNR-Y", f"{float(compare['psnr_ours']):.2f} dB", f"{gain:+.2f} dB against bicubic"))
    model = summary.get("model") or {}
    if model.get("params"):
        macs = f"{amount(float(model['macs']))}MAC at that input" if model.get("macs") else ""
        items.append(("parameters", amount(float(model["params"])), macs))
    if summary.get("passes"):
        p = summary["passes"]
        items.append(("kernels", str(int(p["kernels_after"])), f"from {int(p['kernels_before'])}"))
    return items
