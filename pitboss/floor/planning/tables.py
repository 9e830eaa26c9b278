"""Surveys and proposals as Markdown, for a terminal, a form or an artifact."""

from collections.abc import Callable, Mapping, Sequence

from pitboss.floor.memory.gpus import DRIVERS_OWN, Gpu, Survey
from pitboss.floor.memory.thresholds import occupancy
from pitboss.floor.planning.jobs import Job, SharedJob, Speed, Work
from pitboss.floor.planning.options import Proposal
from pitboss.floor.planning.placement import Option, Placement
from pitboss.floor.planning.reasons import at_least, days, start
from pitboss.formats import gb

Row = Mapping[str, object]


def table(rows: Sequence[Row]) -> str:
    """Rows with the same keys as a Markdown table whose columns line up as plain text too."""
    if not rows:
        return "None."
    lines = [list(rows[0]), *([str(x).replace("|", "/") for x in row.values()] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = ([x.ljust(w) for x, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def survey_table(
    survey: Survey,
    growth: Mapping[int, int] | None = None,
    more: Mapping[int, Row] | None = None,
) -> str:
    """One line a GPU: class, memory, tenants, and what the driver says of its load.

    Args:
        growth: Bytes by GPU that tenants may grow by; None: not known.
        more: Further cells by GPU.
    """
    rows = [
        {
            "GPU": gpu.index,
            "class": occupancy(gpu),
            "free": gb(gpu.free),
            "used": gb(gpu.used),
            "may grow by": "?" if growth is None else gb(growth.get(gpu.index, 0)),
            "tenants": tenants(gpu),
            **(more or {}).get(gpu.index, {}),
            "load": "" if gpu.utilisation is None else f"{gpu.utilisation} %",
            "temperature": "" if gpu.temperature is None else f"{gpu.temperature} °C",
            "name": gpu.name,
        }
        for gpu in survey.gpus
    ]
    unknown = [name for name in ("load", "temperature") if not any(row[name] for row in rows)]
    return table([{k: cell for k, cell in row.items() if k not in unknown} for row in rows])


def tenants(gpu: Gpu) -> str:
    """Everybody on a GPU, with what each holds."""
    said = []
    for tenant in gpu.tenants:
        user = "ours" if tenant.ours else tenant.user or "user not readable"
        size = "size not known" if tenant.memory is None else gb(tenant.memory)
        pid = f"pid {tenant.pid}, " if tenant.pid is not None else ""
        said.append(f"{tenant.command or 'command not readable'} ({user}, {pid}{size})")
    if gpu.unattributed > DRIVERS_OWN:
        said.append(f"not listed ({gb(gpu.unattributed)})")
    return "; ".join(said) or "nobody"


def work_table(work: Work) -> str:
    """One line an experiment: footprint and duration, each with its source."""
    rows = [_work_row(job.name, job, job.hours, days) for job in work.jobs]
    if (job := work.shared) is not None:
        name = f"{job.name} ({job.total:,} features)"
        rows.append(_work_row(name, job, job.seconds, lambda value: f"{value:.3g} s a feature"))
    return table(rows)


def _work_row(
    name: str, job: Job | SharedJob, speeds: Mapping[str, Speed], show: Callable[[float], str]
) -> Row:
    return {
        "experiment": name,
        "memory": gb(job.footprint),
        "memory from": job.footprint_source,
        "takes": "; ".join(show(speed.value) for speed in speeds.values()) or "?",
        "time from": "; ".join(speed.source for speed in speeds.values())
        or "nobody timed it: run a pilot",
    }


def _option_row(option: Option, recommended: str) -> Row:
    return {
        "option": option.letter + (" (recommended)" * (option.letter == recommended)),
        "how": option.title,
        "GPUs": ", ".join(map(str, option.gpus)),
        "starts": start(option.starts_h, option.untimed),
        "takes": days(option.takes_h),
        "ends after": at_least(option.ends_h, option.untimed),
        "for": "; ".join(option.pros),
        "against": "; ".join(option.cons),
    }


def _placement_row(p: Placement) -> Row:
    return {
        "GPU": p.gpu,
        "job": p.work,
        "features": f"{'about ' * (p.layers == 'any')}{p.features:,}" if p.chunks else "",
        "starts": start(p.start_h, p.untimed),
        "takes": days(p.takes_h) if p.speed.known else "?",
        "memory": gb(p.footprint),
        "left": f"{gb(p.margin)}, {p.safety}",
        "beside": ", ".join(p.shared_with) or "nobody",
        "time from": p.speed.source,
    }


def proposal_text(
    proposal: Proposal, growth: Mapping[int, int] | None = None, work: Work | None = None
) -> str:
    """Everything a person needs to choose, as Markdown.

    Args:
        growth: Bytes by GPU that tenants may grow by; None: not known.
        work: What there is to do, if that is to be shown as well.
    """
    survey = proposal.survey
    parts = [
        f"**Recommended: {proposal.recommended}.** {proposal.reason}",
        f"## The floor: {survey.host}, {survey.taken} ({survey.source})",
        survey_table(survey, growth),
        *(["## What there is to do", work_table(work)] if work else []),
        f"## Where {proposal.shared or 'the study'} may run",
        table([_option_row(o, proposal.recommended) for o in proposal.options]),
    ]
    for option in proposal.options:
        parts += [
            f"### {option.letter}: {option.title}",
            table([_placement_row(p) for p in option.placements]),
            option.risk,
        ]
    if proposal.shared:
        rows = [_placement_row(p) for p in proposal.besides]
        parts += ["### Besides, in every option", table(rows)]
    if proposal.notes:
        parts += ["### Notes", "\n".join(f"- {note}" for note in proposal.notes)]
    return "\n\n".join(parts) + "\n"
