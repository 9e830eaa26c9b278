"""Surveys and proposals as Markdown tables, for a terminal, a form or an artifact."""

from collections.abc import Callable, Mapping, Sequence

from pitboss.floor.memory.gpus import Gpu, Survey
from pitboss.floor.memory.thresholds import occupancy
from pitboss.floor.planning.jobs import Speed, Work
from pitboss.floor.planning.options import Proposal
from pitboss.floor.planning.placement import Option, Placement
from pitboss.floor.planning.words import at_least, days, gb


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """A Markdown table whose columns line up as plain text too.

    Args:
        right: Letters, one a column, "r" for columns set flush right; others are flush left.
    """
    right = right.ljust(len(head), "l")
    cells = [list(head), *([cell.replace("|", "/") for cell in row] for row in rows)]
    widths = [max(3, *(len(line[n]) for line in cells)) for n in range(len(head))]

    def set_line(line: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, right, strict=True)
        ]
        return f"| {' | '.join(parts)} |"

    rule = "|".join(
        "-" * (width + 1) + (":" if side == "r" else "-")
        for width, side in zip(widths, right, strict=True)
    )
    return "\n".join([set_line(cells[0]), f"|{rule}|", *map(set_line, cells[1:])])


def survey_table(survey: Survey, growth: Mapping[int, int] | None = None) -> str:
    """One line a GPU: memory, load, class, tenants, and by how much these may grow."""
    rows = [
        [
            str(gpu.index), gpu.name, f"{gpu.used / 1e9:.1f}", f"{gpu.free / 1e9:.1f}",
            _maybe(gpu.utilisation, " %"), _maybe(gpu.temperature, " °C"), occupancy(gpu),
            "?" if growth is None else f"{growth.get(gpu.index, 0) / 1e9:.1f}", tenants(gpu),
        ]
        for gpu in survey.gpus
    ]  # fmt: skip
    head = ["GPU", "name", "used GB", "free GB", "load", "temp", "class", "may grow GB", "tenants"]
    return table(head, rows, "rlrrrrlrl")


def tenants(gpu: Gpu) -> str:
    """Everybody on a GPU, with what each holds."""
    said = []
    for tenant in gpu.tenants:
        user = "ours" if tenant.ours else tenant.user or "user not readable"
        size = "size not known" if tenant.memory is None else f"{tenant.memory / 1e9:.1f} GB"
        pid = f"pid {tenant.pid}, " if tenant.pid is not None else ""
        said.append(f"{tenant.command or 'command not readable'} ({user}, {pid}{size})")
    if gpu.unattributed > 1e9:
        said.append(f"not listed ({gpu.unattributed / 1e9:.1f} GB)")
    return "; ".join(said) or "none"


def _maybe(value: int | None, unit: str) -> str:
    return "?" if value is None else f"{value}{unit}"


def work_table(work: Work) -> str:
    """One line an experiment: footprint and duration, each with its source."""
    rows = [
        [job.name, f"{job.footprint / 1e9:.1f}", job.footprint_source, *_speeds(job.hours, days)]
        for job in work.jobs
    ]
    p = work.patching
    seconds = _speeds(p.seconds, lambda value: f"{value:.3g} s a feature")
    rows.append([f"{p.name} ({p.total:,} features)", f"{p.footprint / 1e9:.1f}",
                 p.footprint_source, *seconds])  # fmt: skip
    head = ["experiment", "GB", "memory from", "takes", "time from"]
    return table(head, rows, "lrlrl")


def _speeds(speeds: Mapping[str, Speed], show: Callable[[float], str]) -> tuple[str, str]:
    if not speeds:
        return "?", "nobody timed it: run a pilot"
    return (
        "; ".join(show(speed.value) for speed in speeds.values()),
        "; ".join(speed.source for speed in speeds.values()),
    )


def options_table(options: Sequence[Option], recommended: str) -> str:
    """One line an option."""
    rows = [
        [
            option.letter + (" (recommended)" if option.letter == recommended else ""),
            option.title, ", ".join(map(str, option.gpus)),
            _start(option.starts_h, option.untimed), days(option.takes_h),
            at_least(option.ends_h, option.untimed), "; ".join(option.pros),
            "; ".join(option.cons),
        ]
        for option in options
    ]  # fmt: skip
    head = ["option", "how", "GPUs", "starts", "takes", "ends after", "for", "against"]
    return table(head, rows, "lllrrr")


def _start(hours: float, untimed: Sequence[str]) -> str:
    if hours == 0:
        return f"after {', '.join(untimed)}" if untimed else "now"
    return f"in {at_least(hours, untimed)}"


def placements_table(placements: Sequence[Placement]) -> str:
    """One line a placement, with its margin."""
    rows = [
        [
            str(p.gpu), p.job, _what(p), _start(p.start_h, p.untimed),
            days(p.hours) if p.speed.known else "?", gb(p.margin), p.safety,
            ", ".join(p.shared_with) or "nobody", p.speed.source,
        ]
        for p in placements
    ]  # fmt: skip
    head = ["GPU", "job", "layers", "starts", "takes", "left", "class", "beside", "time from"]
    return table(head, rows, "rllrrr")


def _what(placement: Placement) -> str:
    if not placement.chunks:
        return ""
    about = "about " if placement.layers == "any" else ""
    return f"{placement.layers}: {about}{placement.features:,} features"


def proposal_text(proposal: Proposal, growth: Mapping[int, int] | None = None) -> str:
    """Everything a person needs to choose, as Markdown."""
    survey = proposal.survey
    parts = [
        f"## The floor: {survey.host}, {survey.taken}",
        survey_table(survey, growth),
        "## What there is to do",
        work_table(proposal.work),
        "## Where the other experiments go",
        placements_table(proposal.house.placements) if proposal.house.placements else "None.",
        f"## Where {proposal.work.patching.name} may run",
        options_table(proposal.options, proposal.recommended),
        f"**Recommended: {proposal.recommended}.** {proposal.reason}",
    ]
    for option in proposal.options:
        parts += [
            f"### {option.letter}: {option.title}",
            placements_table(option.placements),
            option.risk,
        ]
    if proposal.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in proposal.notes)]
    return "\n\n".join(parts) + "\n"
