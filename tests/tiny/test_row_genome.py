"""Decisions of streaming regions as genomes, as data and as records; nothing is compiled."""

from __future__ import annotations

import base64
import io
import json
from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from sr_tvm.errors import SrTvmError
from sr_tvm.records.region_decisions import NAME, ROWS_NAME, ROWS_SCHEMA, RegionRecord, RegionRecords
from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.data import from_data, region_hash, to_data
from sr_tvm.regions.region import Add, Concat, Conv, Pointwise, Region, Result, Source
from sr_tvm.targets.cpu.rows.choices import FIELDS, fields_of
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import RowDecisions
from sr_tvm.targets.cpu.rows.element import FLOAT16
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.cpu.rows.space import RowSpace, key_of
from sr_tvm.tuning.genetic import GeneticSearch, GeneticSettings

MACHINE = CpuCore(8, 16, l2_bytes=1 << 18)
SHAPE = (1, 90, 320)


def blocks(count=4, channels=12, seed=0):
    """A small WDSR: head, blocks of expansion, projection and a residual, a tail with pixel shuffle."""
    rng = np.random.default_rng(seed)

    def conv(name, inputs, outputs, inputs_, kernel):
        weight = rng.standard_normal((outputs, inputs_, kernel, kernel)).astype("float32") / (inputs_ * kernel)
        return Conv(name, inputs, weight, rng.standard_normal(outputs).astype("float32"))

    nodes = [Source("x", 3), Pointwise("mean", ("x",), "shift", (np.full(3, -0.5, "float32"),), 3)]
    nodes.append(conv("head", ("mean",), channels, 3, 3))
    last = "head"
    for i in range(count):
        nodes.append(conv(f"wide{i}", (last,), 4 * channels, channels, 1))
        nodes.append(Pointwise(f"relu{i}", (f"wide{i}",), "relu", (), 4 * channels))
        nodes.append(conv(f"thin{i}", (f"relu{i}",), channels - 2, 4 * channels, 1))
        nodes.append(conv(f"space{i}", (f"thin{i}",), channels, channels - 2, 3))
        nodes.append(Add(f"add{i}", (f"space{i}", last), channels))
        last = f"add{i}"
    nodes.append(conv("tail", (last,), 12, channels, 3))
    return Region(tuple(nodes), (Result("tail", 2),))


@pytest.fixture(scope="module")
def region():
    return blocks()


@pytest.fixture(scope="module")
def space(region):
    return RowSpace(Decider(MACHINE), region, SHAPE)


def drawn(space, count, seed=0):
    """Random, crossed and mutated genomes."""
    rng = Random(seed)
    found = [space.default, *(space.random(rng) for _ in range(8))]
    while len(found) < count:
        child = space.crossover(rng.choice(found), rng.choice(found), rng)
        found.append(space.mutate(child, rng) or child)
    return found


def valid(space, genome):
    pieces = Cutter(space.region).pieces(genome.cuts)
    assert len(pieces) == len(genome.pieces) and set(genome.cuts) <= set(space.candidates)
    assert LOWERING.fits(genome, space.region, SHAPE)
    assert space.repair(genome) == genome
    assert RowDecisions.from_json(json.loads(json.dumps(genome.to_json())), "here") == genome


def test_every_genome_is_valid(space):
    genomes = drawn(space, 60)
    for genome in genomes:
        valid(space, genome)
    assert len({key_of(g) for g in genomes}) > 40
    assert len({g.cuts for g in genomes}) > 10
    for name in FIELDS:
        assert len({fields_of(piece)[name] for g in genomes for piece in g.pieces}) > 1, name


@pytest.mark.parametrize("shape", [(1, None, None), (2, 5, 7)])
def test_unknown_and_tiny_sizes(region, shape):
    space = RowSpace(Decider(MACHINE), region, shape)
    for genome in drawn(space, 10):
        valid(space, genome)


def test_region_without_a_place_to_cut():
    region = blocks(count=0)
    alone = Region(region.nodes[:3], (Result("head"),))
    space = RowSpace(Decider(MACHINE), alone, SHAPE)
    assert space.candidates == [] and {g.cuts for g in drawn(space, 12)} == {()}


def test_cost_models_choice_comes_first(space, region):
    decided = RowLowering(MACHINE).decide(region, SHAPE)
    first = space.seeds()[0]
    assert first == space.default and first.cuts == decided.cuts
    assert [p.width for p in first.pieces] == [p.width for p in decided.pieces]
    search = GeneticSearch(space, GeneticSettings(seed=1))
    assert search.ask(8)[0].genome == space.default


def test_child_has_its_parents_cuts_and_values(space):
    rng = Random(2)
    genomes = drawn(space, 30, seed=5)
    for _ in range(60):
        a, b = rng.choice(genomes), rng.choice(genomes)
        child = space.crossover(a, b, rng)
        assert set(child.cuts) <= {*a.cuts, *b.cuts}
        of_parents = [fields_of(piece) for parent in (a, b) for piece in parent.pieces]
        for piece in child.pieces:
            # The strip is the allowed one nearest to a parent's, and winograd goes with the phases.
            for name in ("registers", "unroll"):
                assert fields_of(piece)[name] in {fields[name] for fields in of_parents}


def test_child_of_equal_parents(space):
    rng = Random(3)
    for genome in drawn(space, 20):
        assert space.crossover(genome, genome, rng) == genome


def test_mutation_changes_one_thing(space):
    rng = Random(4)
    for _ in range(80):
        changed = space.mutate(space.default, rng)
        if changed is None:
            continue
        assert changed != space.default
        moved = set(changed.cuts) ^ set(space.default.cuts)
        assert len(moved) <= 2
        if not moved:
            pairs = zip(changed.pieces, space.default.pieces, strict=True)
            names = {n for a, b in pairs for n in FIELDS if fields_of(a)[n] != fields_of(b)[n]}
            assert len(names - {"winograd", "lines", "pairs"}) <= 1


def test_same_seed_same_genomes(space):
    assert drawn(space, 25, seed=7) == drawn(space, 25, seed=7)
    assert drawn(space, 25, seed=7) != drawn(space, 25, seed=8)


def test_equal_programs_have_one_key(space):
    piece = space.default.pieces[0]
    without = [
        replace(piece, phases=1, tiles=replace(piece.tiles, winograd=w, pairs=p)) for w in (0, 3) for p in (0, 1)
    ]
    genomes = [replace(space.default, pieces=(w, *space.default.pieces[1:])) for w in without]
    assert len({key_of(space.repair(g)) for g in genomes}) == 1


def test_search_gets_better_than_the_cost_model(space):
    """A simulated machine that likes other cuts and other tiles than the cost model believes."""

    def cost(genome):
        tiles = sum(abs(p.tiles.registers - 8) + 4 / p.tiles.unroll + p.width / 64 for p in genome.pieces)
        return 10 + tiles / len(genome.pieces) + 3 * abs(len(genome.pieces) - 4)

    search = GeneticSearch(space, GeneticSettings(population=16, elite=4))
    for _ in range(12):
        for individual in search.ask(8):
            search.tell(individual.key, cost(individual.genome))
    assert search.best.cost < 0.75 * cost(space.default)


def test_region_as_data(region):
    joined = Concat("both", ("x", "tail"), 15)
    clip = Pointwise("clip", ("both",), "clip", (np.zeros(15, "float32"), np.ones(15, "float32")), 15)
    region = Region((*region.nodes, joined, clip), (*region.results, Result("clip")))
    data = json.loads(json.dumps(to_data(region)))
    again = from_data(data)
    assert again.describe() == region.describe() and region_hash(again) == region_hash(region)
    for ours, theirs in zip(region.nodes, again.nodes, strict=True):
        assert ours.name == theirs.name
        if isinstance(ours, Conv):
            assert np.array_equal(ours.weight, theirs.weight) and np.array_equal(ours.bias, theirs.bias)
        if isinstance(ours, Pointwise):
            assert all(np.array_equal(*pair) for pair in zip(ours.parameters, theirs.parameters, strict=True))


def test_hash_is_of_the_structure(region):
    assert region_hash(blocks(seed=1)) == region_hash(region)
    assert region_hash(blocks(channels=13)) != region_hash(region)


def test_bad_data_is_refused(region):
    with pytest.raises(SrTvmError, match="not the data of a region"):
        from_data({**to_data(region), "structure": '{"nodes": [{"kind": "Conv"}]}'})
    packed = io.BytesIO()
    np.savez(packed, a0=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(SrTvmError, match="not the data of a region"):
        from_data({**to_data(region), "arrays": base64.b64encode(packed.getvalue()).decode()})


LOWERING = RowLowering(MACHINE)


def record(region, decisions, shape=SHAPE, ms=1.0):
    return RegionRecord(region_hash(region), shape, "rows", LOWERING.hardware, ms, 2.0, decisions.to_json())


def found(records, region, shape=SHAPE, lowering=LOWERING):
    pair = records.find(region, shape, lowering)
    return pair and pair[0]


def test_records_are_found_by_region_shape_and_processor(space, region, tmp_path):
    best = drawn(space, 9)[-1]
    records = RegionRecords()
    records.put(record(region, best))
    records.save(tmp_path)
    again = RegionRecords.open([tmp_path / "none", tmp_path])
    assert found(again, blocks(seed=3)) == best
    assert found(again, region, (1, 90, 321)) is None and found(again, region, (1, None, None)) is None
    assert found(again, blocks(count=3)) is None
    assert found(again, region, lowering=RowLowering(CpuCore(16, 32))) is None
    assert found(again, region, lowering=RowLowering(MACHINE, element=FLOAT16)) is None


def test_records_of_the_time_of_rows_alone_are_read(space, region, tmp_path):
    best = drawn(space, 9)[-1]
    row = {"region": region_hash(region), "lanes": MACHINE.lanes, "registers": MACHINE.registers, "ms": 1.0}
    row |= {"default_ms": 2.0, "shape": list(SHAPE), "decisions": best.to_json()}
    path = tmp_path / ROWS_NAME
    path.write_text(json.dumps({"schema": ROWS_SCHEMA, "version": 1, "records": [row]}))
    records = RegionRecords.open([tmp_path])
    assert found(records, region) == best
    records.save(tmp_path)  # a search that goes on there writes the new form, and only that
    assert not path.exists() and found(RegionRecords.open([tmp_path]), region) == best


def test_first_folder_wins_and_the_used_are_known(space, region, tmp_path):
    first, second = drawn(space, 9)[-2:]
    for name, decisions in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        records = RegionRecords()
        records.put(record(region, decisions))
        records.put(record(region, decisions, shape=(1, 8, 8)))
        records.save(tmp_path / name)
    both = RegionRecords.open([tmp_path / "a", tmp_path / "b"])
    assert found(both, region) == first and len(both.used) == 1
    both.save(tmp_path / "kept", both.used)
    assert len(RegionRecords.open([tmp_path / "kept"]).records) == 1


def test_record_that_does_not_fit_is_passed_over(space, region, caplog):
    records = RegionRecords()
    odd = replace(space.default.pieces[0], width=24)
    records.put(record(region, RowDecisions((), (odd,))))
    assert found(records, region) is None and records.used == []
    assert "does not fit" in caplog.text
    assert not LOWERING.fits(RowDecisions((10_000,), (space.default.pieces[0],) * 2), region, SHAPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "not a sr-tvm/region-decisions file"),
        ({"version": 9}, "version 9"),
        ({"records": {}}, "field records is {}; a list is needed"),
        ({"records": [{"region": "x"}]}, r"field records\[0\].shape is missing"),
    ],
)
def test_bad_files_are_named(space, region, tmp_path, change, message):
    records = RegionRecords()
    records.put(record(region, space.default))
    records.save(tmp_path)
    path = tmp_path / NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SrTvmError, match=message) as error:
        RegionRecords.open([tmp_path])
    assert NAME in str(error.value)


def test_no_records_no_file(tmp_path):
    (tmp_path / NAME).write_text("{}")
    RegionRecords().save(tmp_path)
    assert not (tmp_path / NAME).exists() and RegionRecords.open([tmp_path]).records == {}
