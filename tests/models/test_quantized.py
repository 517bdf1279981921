"""The int8 networks that ship are those of the float ones beside them, and what their records say of them holds."""


import pytest

pytest.importorskip("torch")

from recipes import quantized, ship
from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.qdq_read import from_onnx

MODELS = shipped.models()
RECORDS = quantized.read(MODELS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_record_is_of_the_files(record):
    """A float network that is trained again must not ship with the int8 one of before."""
    file = MODELS / "int8" / f"{record['name']}.onnx"
    assert record["weights"] == ship.digest(MODELS / f"{record['name']}.safetensors")
    assert record["onnx"] == ship.digest(file)
    assert from_onnx(file).shuffle == record["scale"]


def test_nothing_ships_alone():
    found = {path.stem for path in (MODELS / "int8").glob("*.onnx")}
    assert found == {record["name"] for record in RECORDS} and found


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_little_is_lost(record):
    assert {row["pictures"] for row in record["scores"]} == set(quantized.SETS)
    for row in record["scores"]:
        assert row["float32"] - row["trained"] <= 0.1, row
        assert row["float32"] - row["calibrated"] <= 0.25, row


def test_table_is_that_of_the_records(tmp_path):
    told = quantized.table(RECORDS)
    assert told in (MODELS / "README.md").read_text(encoding="utf-8")
    page = tmp_path / "README.md"
    page.write_text("\n".join(["before", *quantized.MARKS, "after\n"]), encoding="utf-8")
    quantized.write_table(page, told)
    quantized.write_table(page, told)
    assert page.read_text(encoding="utf-8").split("\n") == ["before", quantized.MARKS[0], *told.split("\n"),
                                                           quantized.MARKS[1], "after", ""]  # fmt: skip
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(SrTvmError, match="place is between"):
        quantized.write_table(page, told)
