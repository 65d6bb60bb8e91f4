"""The command line: verbs, thin. Every verb imports what it needs when it runs."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from alexnet.errors import InterruptedRunError, PartnerLostError, UserError

_PARTNER_LOST = 1  # not the user's mistake: torchrun may start all processes again
_USER_ERROR = 2
_INTERRUPTED = 130

Command = Callable[..., None]


def main() -> None:
    """Run the command line; exit codes 0 done, 2 the user can mend it, 130 interrupted."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    code = run(arguments, debug)
    if "alexnet.parallel.failure" in sys.modules:
        from alexnet.parallel.failure import end_at_once

        end_at_once(code)
    sys.exit(code)


def run(arguments: list[str], debug: bool = False) -> int:
    """Run a command and return its exit code."""
    _set_up_threads()
    _end_on_sigterm()
    try:
        verbs.main(args=arguments, prog_name="alexnet", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (UserError, click.ClickException) as error:
        if debug:
            raise
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        return _complain(" ".join(text.split()), _USER_ERROR)
    except PartnerLostError as lost:
        return _complain(str(lost), _PARTNER_LOST)
    except InterruptedRunError as stopped:
        return _complain(str(stopped), _INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return 0
    return 0


def _set_up_threads() -> None:
    """How threads wait for each other; before torch and NumPy are imported, or it has no effect.

    Threads that spin until their turn starve each other as soon as anything else runs on the
    machine: 60 instead of 2,000 images/s, measured. Threads that sleep at once cost a quarter of
    the speed on a quiet one. A short spin before sleeping has most of both.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's; our heavy products are torch's


def _complain(line: str, code: int) -> int:
    if line:  # else another process has said it
        print(f"alexnet: {line}", file=sys.stderr)
    return code


def _end_on_sigterm() -> None:
    """SIGTERM ends like Ctrl-C; the training loop answers both between two steps."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


class Verbs(click.Group):
    """A group that suggests the verb that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with our wording for an unknown verb."""
        from alexnet.suggest import unknown

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UserError(unknown("verb", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alexnet")
def verbs() -> None:
    """The AlexNet of 2012: train it, measure it, use it, look inside.

    Start with `alexnet train` (embedded digits) or `alexnet train FOLDER` (your images).
    Every verb takes --json (one document on stdout) and --debug (show the traceback).
    """


_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default=None, help="Where to compute."
)
_layout = click.option(
    "--layout",
    type=click.Choice(["auto", "one", "columns", "data", "hybrid"]),
    default="auto",
    help="How several devices share the network.",
)
_views = click.option(
    "--views",
    type=click.Choice(["1", "9", "10"]),
    default=None,
    help="Centre patch, the paper's ten patches averaged, or nine as for CIFAR-10.",
)


@verbs.command()
@click.argument("data", required=False)
@click.option("--recipe", default=None, help="A named run; default: chosen for the data.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [runs/NAME]")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue this run.")
@click.option("--init", help="Begin with the weights of this run; its head goes by class name.")
@click.option("--freeze", multiple=True, metavar="LAYER", help="Keep a layer as it is.")
@click.option(
    "--layer-rate", multiple=True, metavar="LAYER=FACTOR", help="Rate of a layer, relative."
)
@click.option("--budget", metavar="30m", help="End in about this time: the schedule is planned.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A config.json.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--steps", type=int, help="End after so many updates.")
@click.option("--batch-size", type=int, help="Images in a batch.")
@click.option("--lr", type=float, help="Learning rate at the start.")
@click.option("--variant", help="Which network; `alexnet info` lists them.")
@click.option("--seed", type=int, help="Of weights, order, augmentation and dropout.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Of products.")
@click.option("--devices", type=click.IntRange(min=1), help="Processes to start, one a device.")
@_layout
@click.option("--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop.")
@_views
@_device
@_as_json
def train(
    data: str | None,
    recipe: str | None,
    out: Path | None,
    resume: Path | None,
    config_file: Path | None,
    init: str | None,
    freeze: tuple[str, ...],
    layer_rate: tuple[str, ...],
    budget: str | None,
    changes: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    devices: int | None,
    layout: str,
    **named: Any,
) -> None:
    """Train a network on DATA: a folder of class folders, `digits`, or `cifar10`.

    Without DATA the embedded handwritten digits are used. The run directory holds the weights,
    the checkpoints, the metrics and report.html.
    """
    assignments = [*_assignments(named), *changes]
    if resume is not None:
        others = (init, freeze, layer_rate, budget)
        if data or recipe or out or config_file or assignments or any(others):
            raise UserError(
                "--resume continues a run with its own configuration; to change something, start "
                f"a new run with --config {resume / 'config.json'}"
            )
        return _train_run(resume, devices, layout, as_json)
    from alexnet.config import read_config
    from alexnet.training.finetune import with_layer_rates
    from alexnet.training.run import create_run, resolve_config
    from alexnet.training.run import train as train_run

    if recipe and config_file:
        raise UserError("--recipe and --config both say what to run; give one of them")
    given = read_config(config_file) if config_file else None
    config = with_layer_rates(
        resolve_config(data, recipe, assignments, given, init), freeze, layer_rate
    )
    if budget is not None:
        from alexnet.tuning.budget import fit_to_budget, read_duration

        config = fit_to_budget(config, read_duration(budget), assignments)
    if dry_run:
        return click.echo(config.to_json(), nl=False)
    if devices and devices > 1:
        return _train_run(create_run(config, out), devices, layout, as_json)
    return _show_run(train_run(config=config, out=out, layout=layout), as_json)


def _train_run(run: Path, devices: int | None, layout: str, as_json: bool) -> None:
    """Train a run that exists, here or in processes of their own."""
    if devices and devices > 1:
        from alexnet.parallel.launch import launch

        options = ["--layout", layout, *(["--json"] if as_json else [])]
        return launch(["train", "--resume", str(run), *options], devices)
    from alexnet.training.run import resume

    return _show_run(resume(run, layout=layout), as_json)


def _assignments(named: dict[str, Any]) -> list[str]:
    """The named options as `section.key=value`."""
    homes = {
        "epochs": "train.epochs",
        "steps": "train.steps",
        "batch_size": "train.batch_size",
        "lr": "optimizer.lr",
        "variant": "model.variant",
        "seed": "train.seed",
        "precision": "train.precision",
        "device": "train.device",
        "views": "evaluation.views",
    }
    return [f"{homes[name]}={value}" for name, value in named.items() if value is not None]


def _show_run(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return click.echo(json.dumps(result))
    click.echo(_errors_in_words(result))
    click.echo(
        f"  {result['steps']} steps, {result['images_per_second']:.0f} images/s, "
        f"{result['data_wait_fraction']:.1%} of the time waiting for data"
    )
    click.echo(f"  report   {Path(result['run']) / 'report.html'}")
    return click.echo(f"  weights  {Path(result['run']) / 'weights.safetensors'}")


def _errors_in_words(result: dict[str, Any]) -> str:
    low, high = result["top1_error_interval"]
    views = {1: "centre patch", 9: "nine patches", 10: "ten patches"}[result["views"]]
    top5 = f", top-5 error {result['top5_error']:.2%}" if result.get("classes", 6) > 5 else ""
    return (
        f"top-1 error {result['top1_error']:.2%} (95 % interval {low:.2%} to {high:.2%}){top5} "
        f"on {result['images']} validation images, {views}"
    )


@verbs.command(name="eval")
@click.argument("runs", nargs=-1, required=True)
@click.argument("data")
@click.option(
    "--split", type=click.Choice(["val", "train", "test"]), default="val", help="Which images."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, help="Images at a time.")
@_views
@_device
@_as_json
def evaluate(
    runs: tuple[str, ...],
    data: str,
    split: str,
    batch_size: int,
    views: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure the error rates of RUNS on DATA; several runs: their probabilities averaged."""
    from alexnet.evaluation.evaluate import evaluate as measure
    from alexnet.evaluation.tables import per_class_lines

    measured = measure(runs, data, split, int(views or 1), device or "auto", batch_size)
    document = {**measured.to_json(), "runs": list(runs)}
    if as_json:
        return click.echo(json.dumps(document))
    click.echo(_errors_in_words({**document, "classes": len(measured.classes)}))
    return click.echo("\n".join(per_class_lines(measured)))


@verbs.command()
@click.argument("run_directory", metavar="RUN")
@click.argument("paths", nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option("--top", type=click.IntRange(min=1), default=5, help="How many classes to name.")
@_views
@_device
@_as_json
def predict(
    run_directory: str,
    paths: tuple[str, ...],
    top: int,
    views: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Say what is in images, with the network of RUN. A bad image is reported, not fatal."""
    from alexnet.evaluation.predict import Predictor

    predictor = Predictor(run_directory, device or "auto")
    predictions = predictor(list(paths), top, int(views or 1))
    if as_json:
        return click.echo(json.dumps([entry.to_json() for entry in predictions]))
    for entry in predictions:
        named = ", ".join(f"{name} {value:.1%}" for name, value in entry.classes)
        click.echo(f"{entry.path}: {entry.error or named}")
    return None


@verbs.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(["auto", "folder", "ilsvrc2010", "ilsvrc2012", "cifar10", "parquet", "csv"]),
    default="auto",
    help="What SOURCE is, where its looks mislead.",
)
@click.option("--size", type=int, default=256, help="Side of the stored squares.  [256]")
@click.option("--quality", type=int, default=95, help="Of the stored JPEG.  [95]")
@click.option("--encoding", type=click.Choice(["jpeg", "raw"]), default="jpeg", help="As stored.")
@click.option("--workers", type=int, help="Processes.  [one a core]")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used.")
@click.option(
    "--no-checksums", is_flag=True, help="Do not compare archives with the official sums."
)
@_as_json
def prepare(source: str, out: Path, no_checksums: bool, as_json: bool, **options: Any) -> None:
    """Decode SOURCE once into a set that opens at once: OUT, Arrow files of small squares.

    SOURCE is a folder, the ILSVRC-2010 or -2012 archives as they come, a Kaggle tree, Parquet
    files, CIFAR-10 or a CSV list. Interrupted work goes on where it was with the same command.
    """
    from alexnet.data.prepare import prepare as make

    result = make(source, out, checksums=not no_checksums, **options)
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo(
        f"{result['images']} images of {result['classes']} classes in {result['out']}, "
        f"{len(result['skipped'])} skipped; train with: alexnet train {result['out']}"
    )


@verbs.command()
@click.argument("what", required=False, metavar="[VARIANT|RUN|PREPARED]")
@click.option("--diff", metavar="VARIANT", help="What differs from this variant.")
@click.option("--classes", type=click.IntRange(min=1), help="Outputs.  [1000; CIFAR-10 nets: 10]")
@click.option("--verify", is_flag=True, help="Compare a prepared set with its checksums.")
@_as_json
def info(
    what: str | None, diff: str | None, classes: int | None, verify: bool, as_json: bool
) -> None:
    """Show the layers of a variant or run: shapes, parameters, multiply-adds; or a prepared set."""
    from alexnet.model.describe import describe, difference_lines, layer_lines

    if what and (Path(what) / "manifest.json").exists():
        from alexnet.data.prepared import describe_prepared
        from alexnet.data.prepared import verify as check
        from alexnet.progress import say

        if verify:
            check(Path(what))
            say(f"every file of {what} has its checksum")
        prepared = describe_prepared(Path(what))
        text = json.dumps(prepared.to_json()) if as_json else "\n".join(prepared.lines())
        return click.echo(text)
    if verify:
        raise UserError(f"--verify wants a prepared set, not {what or 'a variant'}")
    description = describe(what or "paper", classes)
    if diff is not None:
        return click.echo("\n".join(difference_lines(description, describe(diff, classes))))
    if as_json:
        return click.echo(json.dumps(description.to_json()))
    return click.echo("\n".join(layer_lines(description, list_variants=what is None)))


@verbs.command()
@click.option("--variant", default="paper", help="Which network.  [paper]")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, help="Images.  [128]")
@click.option("--image-size", type=click.IntRange(min=1), help="Pixels.  [the variant's]")
@click.option("--classes", type=click.IntRange(min=1), default=1000, help="Outputs of fc8.")
@click.option(
    "--images", type=click.IntRange(min=1), default=1_281_167, help="In an epoch.  [ILSVRC-2012]"
)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto")
@click.option("--no-measure", is_flag=True, help="Time from matrix products, not from a step.")
@click.option("--devices", type=click.IntRange(min=1), help="What up to so many would bring.")
@_layout
@click.option("--machine", default="measured", help="With --devices: measured here, or a name.")
@click.option("--link", default="measured", help="With --devices: measured here, or a name.")
@click.option("--weak", is_flag=True, help="With --devices: the batch is that of each device.")
@_device
@_as_json
def plan(
    device: str | None,
    precision: str,
    devices: int | None,
    layout: str,
    machine: str,
    link: str,
    weak: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what training will need, before starting: memory, time, the largest batch that fits.

    With --devices: what several devices would bring, and what the published records would take.
    """
    from alexnet.parallel.world import make_world

    world = make_world(device or "auto", precision)
    if devices is not None:
        from alexnet.planning.scaling_report import plan_scaling, scaling_lines, scaling_to_json

        if options["image_size"] or options["no_measure"]:
            raise UserError(
                "--devices plans the variant's own image size; to measure nothing, name "
                "--machine and --link in place of --no-measure"
            )
        scaled = plan_scaling(
            world,
            options["variant"],
            options["classes"],
            options["batch_size"],
            devices,
            layout,
            machine,
            link,
            weak,
            options["images"],
        )
        text = json.dumps(scaling_to_json(scaled)) if as_json else "\n".join(scaling_lines(scaled))
        return click.echo(text)
    if layout != "auto" or (machine, link, weak) != ("measured", "measured", False):
        raise UserError(
            "--layout, --machine, --link and --weak plan several devices; add --devices N"
        )
    from alexnet.planning.plan import make_plan
    from alexnet.planning.report import plan_lines, plan_to_json

    made = make_plan(world, **options)
    if as_json:
        return click.echo(json.dumps(plan_to_json(made)))
    return click.echo("\n".join(plan_lines(made)))


@verbs.command()
@click.argument("data", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the study.")
@click.option("--trials", type=click.IntRange(min=2), help="Points to try.  [30]")
@click.option("--budget", metavar="2h", help="End in about this time, instead of --trials.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes.  [1]")
@click.option("--storage", default="auto", help="auto, folder, journal, or a URL of Optuna's.")
@click.option("--full", is_flag=True, help="Train every trial to the end; for comparison.")
@click.option("--range", "range_only", is_flag=True, help="Rate range test only.")
@click.option("--init", help="Fine-tune this run in every trial.")
@click.option("--recipe", default=None, help="What to search around; default: for the data.")
@click.option("--epochs", type=int, help="Of a whole training.")
@click.option("--batch-size", type=int, help="Images in a batch.")
@click.option("--lr", type=float, help="The rate to search around.")
@click.option("--variant", help="Which network.")
@click.option("--seed", type=int, help="Of the search and of every training.")
@click.option("--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting.")
@_device
@_as_json
def tune(
    data: str | None,
    out: Path | None,
    trials: int | None,
    budget: str | None,
    workers: int,
    storage: str,
    full: bool,
    range_only: bool,
    init: str | None,
    recipe: str | None,
    changes: tuple[str, ...],
    as_json: bool,
    **named: Any,
) -> None:
    """Search for the best settings on DATA: many short trainings, the best of them longer.

    The study lives in --out. The same command again goes on with it, also at the same time from
    other processes, devices or hosts that see the folder; nothing is lost when any of them is
    killed, and no trial is trained twice. With --range, only the rate is looked for, in a minute.
    """
    from alexnet.tuning.search import find_range, search

    assignments = [*_assignments(named), *changes]
    if range_only:
        result = find_range(data, recipe, assignments, init, out)
    else:
        result = search(
            data, recipe, assignments, init, out, trials, budget, workers, storage, full
        )
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo("\n".join(result["lines"]))


@verbs.command()
@click.argument("what", required=False, metavar="[RUN|DATA]")
@_as_json
def doctor(what: str | None, as_json: bool) -> None:
    """Say what is wrong with this installation, a data set or a run, and how to mend it."""
    from alexnet.doctor.run import examine

    diagnosis = examine(what)
    text = json.dumps(diagnosis.to_json()) if as_json else "\n".join(diagnosis.lines())
    return click.echo(text)


@verbs.command()
@click.argument(
    "what", type=click.Choice(["train", "infer", "data", "scaling", "all"]), default="all"
)
@click.option("--variant", default="paper", help="Which network.  [paper]")
@click.option("--images", type=click.Path(path_type=Path), help="Pictures; default: made here.")
@click.option("--peers", is_flag=True, help="Measure what others offer in the same rounds.")
@click.option("--count", type=click.IntRange(min=8), default=1024, help="How many pictures.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Of steps.  [64; GPU: 1024]")
@click.option("--steps", type=click.IntRange(min=1), help="In a round.  [as many as take 1 s]")
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="How often each is run.")
@click.option(
    "--only",
    type=click.Choice(["native", "batches", "resident", "memory"]),
    help="One part of `data`.",
)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks", help="Folder.")
@_device
@_as_json
def bench(what: str, out: Path, device: str | None, as_json: bool, **options: Any) -> None:
    """Measure speed and memory, interleaved with named peers, and write a result file."""
    from alexnet.bench.all import measure
    from alexnet.bench.measure import table, write_results
    from alexnet.parallel.environment import describe_environment
    from alexnet.parallel.world import make_world

    world = make_world(device or "auto")
    if what == "scaling":
        from alexnet.planning.validation import bench_scaling

        wanted = {key: options[key] for key in ("variant", "batch_size", "steps", "rounds")}
        rows = bench_scaling(**wanted, world=world)
    else:
        rows = measure(what, world, **options)
    path = write_results(rows, what, describe_environment(world), out)
    if as_json:
        return click.echo(json.dumps(json.loads(path.read_text(encoding="utf-8"))["rows"]))
    return click.echo("\n".join([*table(rows), f"written to {path}"]))


@verbs.command()
@click.argument("claim", default="list", metavar="[CLAIM|list|all]")
@click.option(
    "--scale",
    type=click.Choice(["smoke", "cpu", "gpu", "full"]),
    default="smoke",
    help="Seconds, hours on a few cores, hours on a GPU, or the paper's own.  [smoke]",
)
@click.option("--data", help="Images in place of the claim's own: as for train.")
@click.option("--out", type=click.Path(path_type=Path), default="claims", help="Folder.  [claims]")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once.  [one a GPU]")
@_as_json
def reproduce(
    claim: str, scale: str, data: str | None, out: Path, jobs: int | None, as_json: bool
) -> None:
    """Put a CLAIM of the paper to the test: what it says, the authors' logs say, we measure.

    Every run is kept in OUT; the same command goes on after an interruption.
    """
    if claim == "list":
        from alexnet.claims.catalog import CLAIMS

        rows = [{"claim": c.name, "section": c.section, "paper": c.paper} for c in CLAIMS.values()]
        if as_json:
            return click.echo(json.dumps(rows))
        return click.echo("\n".join(f"{row['claim']:<20} {row['paper']}" for row in rows))
    from alexnet.claims.reproduce import reproduce as put_to_the_test
    from alexnet.claims.results import result_lines

    documents = put_to_the_test(claim, scale, out, data, jobs)
    if as_json:
        return click.echo(json.dumps(documents))
    return click.echo("\n\n".join("\n".join(result_lines(document)) for document in documents))


@verbs.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--data", help="Images to show; default: those of the run.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write into.")
@click.option("--images", type=click.IntRange(min=1), default=8, help="How many to show.  [8]")
@_device
@_as_json
def figures(
    run_directory: Path, data: str | None, out: Path, images: int, device: str | None, as_json: bool
) -> None:
    """Draw what RUN has learned: kernels, predictions, neighbours, evidence, activations."""
    from alexnet.figures.draw import draw

    result = draw(run_directory, out, data, images, device or "auto")
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo(f"{len(result['figures'])} figures; page {result['page']}")
