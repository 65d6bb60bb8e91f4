"""Tables 1 and 2: the error rates, of one network and of five averaged.

Below `full` the same is done on what is there, to show that it works; the numbers then have nothing
to do with the paper's.
"""

from collections.abc import Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, seeded, values_of
from alexnet.claims.intervals import mean_of
from alexnet.claims.measures import errors_with_siblings
from alexnet.claims.photographs import REFERENCE, reference_run

# (paper's top-1, top-5), (logged top-1, top-5) by the year of the data and the number of networks.
_PUBLISHED = {
    (2010, 1): ((37.5, 17.0), (37.47, 17.00)),
    (2012, 1): ((40.7, 18.2), (40.66, 18.21)),
    (2012, 5): ((38.1, 16.4), (None, None)),
}
_NOTHING = ((None, None), (None, None))


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The networks of the average: five at full scale, as many as there are seeds elsewhere."""
    count = setting.scale.averaged or setting.scale.seeds
    run = replace(reference_run(setting), measure=errors_with_siblings)
    return seeded([run], range(count))


def find(setting: Setting, measured: Measured) -> Finding:
    """Errors with ten views of each network, and of the average of all that are there."""
    full = setting.scale.name == "full"
    year = next((values.get("year") for values in measured.values()), None)
    averaged = max(measured.values(), key=lambda v: v["averaged"], default={"averaged": 1})
    together = int(averaged["averaged"])
    quantities = []
    for place, k in enumerate((1, 5)):
        for count in (1, together):
            paper, logs = _PUBLISHED.get((year, count), _NOTHING) if full and year else _NOTHING
            of = "one network" if count == 1 else f"{count} averaged"
            values = (
                values_of(measured, REFERENCE, f"top{k}_error")
                if count == 1
                else [averaged[f"averaged_top{k}_error"]]
            )
            found = mean_of(
                f"top-{k} error, ten patches, {of}", "%", values, paper[place], logs[place]
            )
            quantities.append(found if count == 1 else replace(found, seeds=together))
            if together == 1:
                break
    words = (
        "error rates to be compared with the table"
        if full
        else "the procedure of the tables at a small scale; its numbers are not the paper's"
    )
    splits = {values["split"] for values in measured.values()}
    return Finding(
        quantities,
        words if measured else "not measured yet",
        [f"{' and '.join(splits)} images"] if splits else [],
    )


CLAIM = Claim(
    name="tables",
    section="6, Tables 1 and 2",
    paper="ILSVRC-2010 test 37.5 and 17.0; ILSVRC-2012 validation 40.7 and 18.2, five averaged "
    "38.1 and 16.4",
    logs="37.47 and 17.00; 40.66 and 18.21; the members of the averages are not listed",
    data="photographs",
    plan=plan,
    find=find,
)
