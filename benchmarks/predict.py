"""How long prediction takes and what it needs, beside what else people would use.

    python -m benchmarks.predict --size 4096 --bundle out/demo/model --json FILE
    python -m benchmarks.predict --size 2048 --peers none --scaling
    python -m benchmarks.predict --size 1024 --peers none --rounds 1 --set margin=256

Whole processes, side by side: in each round every program runs once, in turn. Each map is compared
with one that nobody cut into patches (of the same precision). From the repository's root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, summary
from benchmarks.environments import peer_names, prepare
from benchmarks.floor import measure_floor
from benchmarks.measure import ProgramError, run
from benchmarks.programs import GeosegSettings, Program, geoseg, peer
from benchmarks.reference import compare, reference_map
from benchmarks.scene import ROOT, Scene, open_scene, warm
from benchmarks.summary import Series


def main() -> None:
    """Measure every size asked for, print the tables, write the file."""
    given = _arguments()
    results = {}
    for size in given.size:
        scene = open_scene(given.work, size, given.scene, given.bundle)
        print(f"\n{size} x {size} pixels, {len(scene.files)} dates, {scene.weights} weights")
        series = measure(scene, programs(given, scene), given.rounds, given.work)
        results[str(size)] = series
        print(f"\n{summary.table(series, machine.cores())}\n", flush=True)
    content = _content(results, given)
    print(json.dumps({key: content[key] for key in _HEADLINES}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(content, indent=1) + "\n")


_HEADLINES = ("ratio_to_floor", "speedup_over_fastest_peer", "peak_rss_mb", "scaling")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--size", type=_sizes, default=(1024,), help="side in pixels, or several: 2048,4096")
    add("--peers", default="all", help=f"'all', 'none', or some of {','.join(peer_names())}")
    add("--rounds", type=int, default=3)
    add("--precision", default="fp32,bf16", help="geoseg's, separated by commas")
    add("--scene", type=Path, help="folder of 'geoseg synth' [default: made]")
    add("--bundle", type=Path, help="model bundle [default: random weights]")
    add("--scaling", action="store_true", help="also 1 and 2 Dask workers of one thread each")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="geoseg's predict.KEY")
    add("--threads", type=int, default=machine.cores(), help="threads of each peer")
    add("--json", type=Path, help="where the figures go")
    add("--work", type=Path, default=Path(".bench"), help="scenes, references, runs [.bench]")
    add("--envs", type=Path, help="environments of the peers [WORK/envs]")
    add("--base", type=Path, help="a Python whose packages the environments may borrow")
    given = parser.parse_args()
    given.work = given.work.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    given.peers = _chosen(given.peers, parser)
    return given


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _chosen(text: str, parser: argparse.ArgumentParser) -> tuple[str, ...]:
    if text in {"all", "none"}:
        return peer_names() if text == "all" else ()
    unknown = set(text.split(",")) - set(peer_names())
    if unknown:
        parser.error(f"--peers: {', '.join(sorted(unknown))}; there are {', '.join(peer_names())}")
    return tuple(text.split(","))


def programs(given: argparse.Namespace, scene: Scene) -> list[Program]:
    """What is measured, in turn."""
    folder = given.work / "runs"
    more = {key: _number(value) for key, value in (text.split("=", 1) for text in given.set)}
    precisions = given.precision.split(",")
    chosen = [geoseg(scene, folder, GeosegSettings(one, predict=more)) for one in precisions]
    if given.scaling:
        chosen += [_with_workers(scene, folder, one, n, more) for one in precisions for n in (1, 2)]
    envs = (given.envs or given.work / "envs").resolve()
    for name in given.peers:
        try:
            python = prepare(name, envs, given.base)
        except subprocess.CalledProcessError as error:
            print(f"{name} is left out, its environment cannot be made: {error}")
            continue
        chosen.append(peer(name, python, scene, given.work, given.threads))
    return chosen


def _with_workers(
    scene: Scene, folder: Path, precision: str, workers: int, more: dict[str, int | str]
) -> Program:
    """Dask workers of one thread each."""
    name = f"{precision}-{workers}w"
    settings = GeosegSettings(precision, name, workers, predict=more, cluster={"concurrency": 1})
    return geoseg(scene, folder, settings)


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def measure(scene: Scene, chosen: Sequence[Program], rounds: int, work: Path) -> list[Series]:
    """Every program once a round; a program that fails is not tried again."""
    references = {one.precision: reference_map(scene, one.precision, work) for one in chosen}
    warm(scene)
    series = [Series(program.name, program.precision) for program in chosen]
    for number in range(rounds):
        for program, one in zip(chosen, series, strict=True):
            if not one.failure:
                _turn(program, one, scene, references[program.precision])
                print(f"round {number + 1}: {_line(one)}", flush=True)
    return series


def _turn(program: Program, series: Series, scene: Scene, reference: Path) -> None:
    """One run of one program; geoseg's is followed by the floor under it."""
    program.clear()
    try:
        usage = run(program.command, program.folder / "log.txt", ROOT)
        if not program.result.is_file():
            raise ProgramError(f"it ended well and left no {program.result.name}")
        series.differences.append(compare(program.result, reference, program.blanks))
        series.runs.append(usage)
        if program.job:
            series.floors.append(measure_floor(scene, program.precision, program.job))
    except (ProgramError, ValueError) as error:
        series.failure = str(error)
    finally:
        shutil.rmtree(program.folder / "out", ignore_errors=True)


def _line(series: Series) -> str:
    if series.failure:
        return f"{series.name} failed: {series.failure}"
    last, differs = series.runs[-1], series.differences[-1]
    text = f"{series.name} {last.seconds:.2f} s, {last.cpu_seconds:.2f} CPU s, "
    text += f"{last.peak_rss_mb:.0f} MiB, differs {differs.overall:.4%} (rim {differs.rim:.4%})"
    if series.floors:
        text += f", floor {series.floors[-1].seconds(machine.cores()):.2f} s"
    return text + f", load {last.load_before:.2f}"


def _content(results: dict[str, list[Series]], given: argparse.Namespace) -> dict[str, Any]:
    """The file: headlines by size first, then every program."""
    cores = machine.cores()
    by_size = results.items()
    return {
        "ratio_to_floor": {size: summary.ratios_to_floor(all_, cores) for size, all_ in by_size},
        "speedup_over_fastest_peer": {size: summary.speedups(all_) for size, all_ in by_size},
        "peak_rss_mb": {size: summary.memory(all_) for size, all_ in by_size},
        "scaling": {size: summary.scaling(all_) for size, all_ in by_size},
        "programs": {
            size: {one.name: one.to_dict(cores) for one in all_} for size, all_ in by_size
        },
        "settings": {
            "rounds": given.rounds,
            "threads": given.threads,
            "predict": given.set,
            "weights": "given" if given.bundle else "random",
        },
        "machine": machine.describe(),
    }


if __name__ == "__main__":
    main()
