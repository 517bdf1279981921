"""What the OpenCL benchmark makes of its rows, its recording and its addresses; nothing is compiled by Mesa."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.phones import opencl, opencl_counts, opencl_mnn, opencl_rows, opencl_summary
from benchmarks.phones.onnx_facts import network
from benchmarks.phones.opencl_builds import STOCK, TUNED, UNTUNED, Variant
from benchmarks.phones.opencl_summary import INFINITE, MAIN, summarize
from benchmarks.phones.opencl_update import Earlier
from sr_tvm.errors import SrTvmError
from sr_tvm.isa.count import Count
from sr_tvm.isa.device_code import DeviceCode
from sr_tvm.isa.launch import Launch, SourceLoop
from sr_tvm.isa.machine import Statistics
from sr_tvm.isa.network import NetworkCount

OTHER = "wdsr_other"
CPU = {"device": "cpu", "device_is_gpu": False}


def code(model: str, how: str, target: str, slots: float, **values: Any) -> dict[str, Any]:
    """A sound row of machine code of a network with 60 multiply-accumulates."""
    variant = Variant(how, target, values.pop("dtype", "float32"), values.pop("generic", False))
    row = opencl_rows.code_row(model, variant, (1, 1))
    row |= {"slots": slots, "mac_per_slot": 60 / slots, "spills": 0, "min_waves": 4, "estimated_ms": 2.0}
    return row | {"traffic_vs_floor": 1.5, "tuned_kernels": 0} | values


def run(model: str, how: str, target: str, ms: float, error: float = 1e-6, **values: Any) -> dict[str, Any]:
    row = {"part": "run", "model": model, "variant": f"{how}-{target}", "how": how, "target": target, "ms": ms}
    return row | {"max_abs_err": error} | CPU | values


def everything() -> list[dict[str, Any]]:
    rows = []
    for model in (MAIN, OTHER):
        for target in ("adreno", "mali"):
            rows += [code(model, STOCK, target, 9000), code(model, UNTUNED, target, 100)]
            rows.append(code(model, STOCK, target, 2000, generic=True))
        rows += [run(model, STOCK, "adreno", 90), run(model, STOCK, "mali", 40), run(model, UNTUNED, "adreno", 20)]
    return [*rows, code(MAIN, UNTUNED, "mali", 50, dtype="float16", psnr_set5=51.0)]


def test_the_summary_of_sound_rows() -> None:
    found = summarize(everything(), [MAIN, OTHER])
    assert found["adreno"]["mac_per_slot"] == found["adreno"]["mac_per_slot_worst"] == 0.6
    assert found["mali"]["mac_per_instruction"] == 0.6 and found["mali"]["mac_per_instruction_fp16"] == 1.2
    assert found["mali"]["fp16_psnr_set5"] == 51.0
    assert found["adreno"]["slots_vs_stock"] == found["mali"]["slots_vs_stock"] == 90
    assert (found["adreno"]["min_waves"], found["adreno"]["spills"]) == (4, 0)
    assert (found["traffic_vs_floor"], found["pocl_vs_stock"], found["max_abs_err"]) == (1.5, 2.0, 1e-6)
    assert [key for key, reached in found["goals"].items() if not reached] == ["adreno.mac_per_slot"]


def test_slots_are_compared_with_what_a_phone_gets_and_with_the_better_stock_build() -> None:
    """A slow schedule that dlight takes for phones is little credit to ours."""
    rows = everything()
    found = summarize(rows, [MAIN])["mali"]
    assert (found["slots_vs_stock"], found["slots_vs_stock_best"]) == (90, 20)
    rows.remove(next(r for r in rows if r.get("generic") and (r["model"], r["target"]) == (MAIN, "mali")))
    found = summarize(rows, [MAIN])["mali"]
    assert (found["slots_vs_stock"], found["slots_vs_stock_best"]) == (90, 0)


def test_a_tuned_row_counts_where_a_log_had_it() -> None:
    tuned = code(MAIN, TUNED, "adreno", 75)
    assert summarize([*everything(), tuned], [MAIN])["adreno"]["mac_per_slot"] == 0.6
    assert summarize([*everything(), tuned | {"tuned_kernels": 1}], [MAIN])["adreno"]["mac_per_slot"] == 0.8


@pytest.mark.parametrize("break_it", ["missing", "failed", "not counted"])
def test_a_row_that_failed_or_is_missing_counts_nothing(break_it: str) -> None:
    rows = everything()
    ours = next(r for r in rows if (r["model"], r["how"], r.get("target")) == (OTHER, UNTUNED, "adreno"))
    if break_it == "missing":
        rows.remove(ours)
    else:
        ours |= {"error": "kernel k: not to be trusted"} if break_it == "failed" else {"slots": None}
    found = summarize(rows, [MAIN, OTHER])
    assert found["adreno"]["mac_per_slot"] == 0.6  # the main network is sound
    worst = ("mac_per_slot_worst", "min_waves", "slots_vs_stock")
    assert [found["adreno"][key] for key in worst] == [0, 0, 0]
    assert found["adreno"]["spills"] >= INFINITE and found["traffic_vs_floor"] == INFINITE
    assert found["mali"]["slots_vs_stock"] == 90


def test_what_float16_costs_is_noted_in_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary takes the untuned row where no record fits, whichever was compared first."""
    from rich.progress import Progress

    from sr_tvm.evaluation import float16

    made = float16.Comparison(62.456, 61.8, 5, "Set5", True)
    monkeypatch.setattr(float16, "compare", lambda *_: made)
    monkeypatch.setattr(opencl_rows, "on_driver", lambda *_: {"driver": "verified"})
    (tmp_path / "data" / opencl.SET5).mkdir(parents=True)
    bench = opencl.Bench(tmp_path / "out.json", [MAIN], {}, Progress(disable=True))
    bench.rows = [code(MAIN, how, "mali", 50, dtype="float16") for how in (TUNED, UNTUNED)]
    bench.loss(tmp_path / "data", (360, 640), (90, 160))
    assert [row["psnr_set5"] for row in bench.rows] == [62.46, 62.46]
    assert [row["driver"] for row in bench.rows] == ["verified"] * 2
    assert summarize(bench.rows, [MAIN])["mali"]["fp16_psnr_set5"] == 62.46
    assert (tmp_path / "out.json").is_file()


def test_float16_that_no_driver_runs_is_untested_and_wrong_kernels_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sr_tvm.evaluation import verification
    from sr_tvm.targets.opencl.family import OpenCl

    def refuse(*_: Any) -> None:
        raise SrTvmError("the device has no float16")

    monkeypatch.setattr(OpenCl, "stand_in", refuse)
    model = opencl.MODELS[MAIN]
    assert opencl_rows.on_driver(model, "mali", False, (9, 16)) == {"driver": "untested: the device has no float16"}
    monkeypatch.setattr(OpenCl, "stand_in", lambda target: target)
    monkeypatch.setattr(verification, "verify", refuse)
    assert opencl_rows.on_driver(model, "mali", False, (9, 16))["error"] == "the device has no float16"
    made = verification.Verification("cl", "cpu", (1, 3, 9, 16), 1e-3, 2e-2)
    monkeypatch.setattr(verification, "verify", lambda *_: made)
    found = opencl_rows.on_driver(model, "mali", False, (9, 16))
    assert found["driver_max_err"] == 1e-3 and "verified at 1x3x9x16 on cl" in found["driver"]


def test_an_update_replaces_rows_and_keeps_others_with_their_dates(tmp_path: Path) -> None:
    from rich.progress import Progress

    path, rows = tmp_path / "opencl.json", everything()
    for row in rows:
        row.pop("date", None)
    method = {"rounds": "5 to 20", "load_average_before": 4.0}
    path.write_text(json.dumps({"name": "opencl", "date": "2026-01-01", "rows": rows, "method": method}))
    how = {"rounds": "none", "load_average_before": 1.0, "recording": {"date": "new"}}
    bench = opencl.Bench(path, [MAIN], how, Progress(disable=True), Earlier(path, "opencl"))
    bench.rows = [code(MAIN, how, "adreno", 75, tuned_kernels=1, date="2026-02-02") for how in (UNTUNED, TUNED)]
    value = bench.write()
    again = {(r["part"], r["model"], r["variant"]): r for r in value["rows"]}
    assert len(value["rows"]) == len(again) == len(rows) + 1
    assert again["code", MAIN, "untuned-adreno"]["slots"] == 75
    dates = {r["date"] for r in value["rows"] if r["model"] != MAIN or "adreno" not in r["variant"]}
    assert dates == {"2026-01-01"} and again["code", MAIN, "tuned-adreno"]["date"] == "2026-02-02"
    told = value["method"]
    assert told["rounds"] == "5 to 20" and told["load_average_before"] == 4.0 and told["recording"] == {"date": "new"}
    (line,) = told["updates"]
    assert line["models"] == [MAIN] and line["rows"] == ["code untuned-adreno", "code tuned-adreno"]
    assert line["load_average_before"] == 1.0 and value["summary"]["adreno"]["mac_per_slot"] == 0.8
    assert [line["date"] for line in Earlier(path, "opencl").told(how, {"date": "x"})["updates"]][1:] == ["x"]


def test_an_update_needs_a_file_of_this_benchmark(tmp_path: Path) -> None:
    for text in (None, "{", '{"name": "peers"}'):
        path = tmp_path / "other.json"
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
        with pytest.raises(SrTvmError, match="other.json: no result of the benchmark opencl"):
            Earlier(path, "opencl")
    found = CliRunner().invoke(opencl.main, ["--quick", "--builds", "tuned", "-o", str(tmp_path / "o.json")])
    assert found.exit_code == 2 and "it is for --update" in found.output


def test_mnn_is_compared_where_it_was_counted() -> None:
    peer = {"part": "peer", "model": MAIN, "variant": "mnn", "gpu": "mali-g57", "slots": 250, "mac_per_slot": 0.24}
    found = summarize([*everything(), peer], [MAIN])
    assert found["mali"]["slots_vs_mnn"] == 2.5 and "slots_vs_mnn" not in found["adreno"]


def test_the_kernels_of_mnn_that_fit_a_layer(tmp_path: Path) -> None:
    expand, project, conv = (opencl_mnn.Layer("x", *sizes) for sizes in ((24, 144, 1), (144, 20, 1), (20, 24, 3)))
    for layer, fits in ((expand, 5), (project, 3), (conv, 7)):
        made = opencl_mnn.launches(layer, 4, 64)
        assert len(made) == fits
        for one in made:  # all of them compute the layer, and a little more at the edge of a work-group
            least = 4 * 64 * layer.inputs * layer.outputs * layer.kernel**2
            assert least <= one.body.total("macs") * one.items <= 4 * least
    with pytest.raises(SrTvmError, match="give a clone of"):
        opencl_mnn.source(tmp_path)


def test_no_rows_reach_nothing() -> None:
    for names in ([], [MAIN]):
        found = summarize([], names)
        assert not any(found["goals"].values())
        json.dumps(found, allow_nan=False)


def test_runs_are_of_the_device_they_were_on() -> None:
    gpu = [r | {"device": "adreno", "device_is_gpu": True} for r in everything() if r["part"] == "run"]
    for row in gpu:
        row["ms"] = row["ms"] / 10 if row["how"] == UNTUNED else row["ms"]
    found = summarize([*everything(), *gpu], [MAIN, OTHER])
    assert found["pocl_vs_stock"] == 2.0
    assert {name: told["vs_stock"] for name, told in found["devices"].items()} == {"cpu": 2.0, "adreno": 20.0}


def test_a_run_that_is_off_or_was_not_made_is_told() -> None:
    rows = everything()
    rows[-2]["max_abs_err"] = None  # ours of the other network never answered
    rows[-2] |= {"ms": None, "error": "died"}
    found = summarize(rows, [MAIN, OTHER])
    assert (found["pocl_vs_stock"], found["max_abs_err"]) == (0.0, INFINITE)
    assert found["failed"] == [f"run: untuned-adreno of {OTHER}"]
    rows[-2] |= {"max_abs_err": 3e-5}
    assert summarize(rows, [MAIN, OTHER])["max_abs_err"] == 3e-5


def count(name: str, slots: float, problem: str = "", spills: int = 0) -> Count:
    return Count(
        name, "adreno-660", "1", slots, 0, 3, {}, {}, {}, 10, 12, Statistics(20, None, 6, 64, spills), (), problem
    )


def test_a_row_of_machine_code() -> None:
    found = NetworkCount("adreno-660", "1", (count("a", 4), count("b", 6, spills=1)), {"a": 2, "b": 1}, macs=70)
    row = opencl_rows.code_row(MAIN, Variant(UNTUNED, "adreno"), (2, 5))
    opencl_rows.fill_counts(row, found, 10)
    assert (row["slots"], row["mac_per_slot"], row["slots_per_pixel"]) == (140, 0.5, 14)  # 10 work-items, a twice
    assert (row["worst_kernel"], row["worst_mac_per_slot"], row["spills"]) == ("b", 0.5, 1)
    assert (row["min_waves"], row["registers"]) == (6, 20) and "error" not in row
    opencl_rows.fill_counts(row, NetworkCount("adreno-660", "1", (count("a", 4, "loops"),), {"a": 1}), 10)
    assert row["error"] == "1 kernels can't be trusted; a: loops"


def launch(name: str) -> Launch:
    return Launch(name, (1, 1, 1), (64, 1, 1), SourceLoop(1, macs=2), {}, {}, 8)


def program(name: str, value: str, body: str = "+") -> str:
    return (
        f"// Function: {name}\n#define X\n__kernel void {name}(__global float* {value}_ptr);\n"
        f"__kernel void {name}(__global float* {value}_ptr) {{\n  {value}_ptr[0] {body}= 1;\n}}\n\n"
    )


def test_equal_kernels_of_two_networks_are_one() -> None:
    names = ("first_kernel", "second_kernel", "third_kernel")
    text = program(names[0], "lv1") + program(names[1], "lv20") + program(names[2], "lv1", body="-")
    found = opencl_counts.programs(DeviceCode(text, tuple(map(launch, names)), names))
    a, b, c = (found[name] for name in names)
    assert a == b != c and "lv1" not in a.text and a.text.count("__kernel") == 1 and "#define X" in a.text
    assert a.key("adreno-660", "1") == b.key("adreno-660", "1") != a.key("mali-g57", "1") != a.key("mali-g57", "2")
    with pytest.raises(SrTvmError, match="no part for kernel"):
        opencl_counts.programs(DeviceCode(program(*names[:2]), (launch("fourth"),), ("fourth",)))


def test_a_recording_is_measured_again_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    made = {"slots": 5.0}

    def counts(sources: Any, gpu: str) -> list[list[Count]]:
        asked.extend(text for text, _ in sources)
        return [[count("k", made["slots"])] for _ in sources]

    monkeypatch.setattr(opencl_counts, "count_sources", counts)
    wanted = [opencl_counts.Program(f"text {i}", launch("k")) for i in range(20)]

    def measure(recording: opencl_counts.Recording, seed: int = 0) -> dict[str, str]:
        asked.clear()
        return opencl_counts.measure(wanted, "adreno-660", "1", recording, 0.1, seed, lambda done, of: None)

    recording = opencl_counts.Recording(tmp_path / "kernels.json")
    assert measure(recording) == {} and sorted(asked) == sorted(p.text for p in wanted)
    recording.save({"seed": 0})
    again = opencl_counts.Recording(tmp_path / "kernels.json")
    assert again.rows == recording.rows and again.about == {"seed": 0}
    assert measure(again) == {} and len(asked) == 2 and all(text.startswith("// 0 ") for text in asked)
    first = [text.partition("\n")[2] for text in asked]
    measure(again, seed=1)
    assert first != [text.partition("\n")[2] for text in asked]
    made["slots"] = 6.0
    errors = measure(again)
    assert len(errors) == 2 and all("slots 6.0, recorded 5.0" in said for said in errors.values())
    assert opencl_counts.measure(wanted, "adreno-660", "1", again, 0.1, 0, lambda *_: None, record=True) == {}
    assert measure(again) == {} and sorted(row["slots"] for row in again.rows.values()) == [5.0] * 18 + [6.0] * 2
    code = DeviceCode("", (), ())
    assert opencl_counts.network_count(code, "adreno-660", "1", 1, again, errors).counts == ()


def test_a_kernel_that_does_not_build_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(sources: Any, gpu: str) -> list[list[Count]]:
        if any("bad" in text for text, _ in sources):
            raise SrTvmError("kernel k does not build")
        return [[count("k", 5)] for _ in sources]

    monkeypatch.setattr(opencl_counts, "count_sources", counts)
    wanted = [opencl_counts.Program(text, launch("k")) for text in ("good", "bad", "fine")]
    recording = opencl_counts.Recording(tmp_path / "kernels.json")
    errors = opencl_counts.measure(wanted, "mali-g57", "1", recording, 0.1, 0, lambda done, of: None)
    assert list(errors) == [wanted[1].key("mali-g57", "1")] and len(recording.rows) == 2


def test_what_a_shipped_network_asks_for() -> None:
    from sr_tvm.records.architecture import Architecture

    model = opencl.MODELS[MAIN]
    shape = Architecture.from_json(json.loads(model.with_suffix(".json").read_text()))
    found = network(model, (36, 64))
    assert found.macs == shape.macs(36, 64)
    pixels = 36 * 64
    trunk = 2 * len(shape.blocks) * shape.channels * pixels
    assert found.floor == 3 * pixels + 3 * pixels * shape.scale**2 + found.weights + trunk


def test_a_recording_is_not_rewritten_by_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the counts of all other networks would be dropped from it."""
    monkeypatch.setattr(opencl, "RECORDING", tmp_path / "kernels.json")
    for options in (["--quick", "--vgg"], ["--parts", "run"], ["--parts", "code"], ["--input", "90x160"]):
        found = CliRunner().invoke(opencl.main, [*options, "--record", "-o", str(tmp_path / "out.json")])
        assert found.exit_code == 2 and "--record needs the machine code of all networks" in found.output
    assert not list(tmp_path.iterdir())


def test_a_part_needs_a_file_of_its_own() -> None:
    assert opencl_summary.MAIN in opencl.MODELS
    for options in (["--quick"], ["--parts", "code"], ["--models", MAIN]):
        found = CliRunner().invoke(opencl.main, options)
        assert found.exit_code == 2 and "with -o" in found.output
