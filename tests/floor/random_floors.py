"""Random floors and work: several kinds of GPU, tenants of all sizes, some of them ours."""

from hypothesis import strategies as st

from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.planning.jobs import ANY, Job, SharedJob, Speed, Work

GB = 1_000_000_000
KINDS = {"small": 24, "middle": 48, "large": 81}
sizes = st.integers(0, 81 * GB)
durations = st.builds(
    Speed, st.floats(0.01, 200, allow_nan=False), st.sampled_from(["plan", "pilot"])
)


@st.composite
def gpus(draw: st.DrawFn, index: int) -> Gpu:
    kind = draw(st.sampled_from(list(KINDS)))
    total = KINDS[kind] * GB
    used = draw(st.just(0) | st.integers(0, total))
    tenants, left = [], used
    for n in range(draw(st.integers(0, 2)) if used else 0):
        size = draw(st.integers(0, left))
        left -= size
        ours = draw(st.booleans())
        tenants.append(Tenant(n, "me" if ours else "them", "server", size, ours))
    return Gpu(index, None, kind, total, used, None, None, tuple(tenants))


@st.composite
def surveys(draw: st.DrawFn) -> Survey:
    count = draw(st.integers(1, 8))
    return Survey("random", "2026-01-01", "random", tuple(draw(gpus(n)) for n in range(count)))


@st.composite
def works(draw: st.DrawFn, floor: Survey) -> Work:
    jobs: list[Job] = []
    busy: set[int] = set()
    for n in range(draw(st.integers(0, 4))):
        after = tuple(job.name for job in jobs if draw(st.integers(0, 3)) == 0)
        running = draw(st.none() | st.sampled_from([g.index for g in floor.gpus]))
        if running in busy or after:
            running = None
        if running is not None:
            busy.add(running)
        known = draw(st.booleans()) or running is not None
        hours = {ANY: draw(durations)} if known else {"large": draw(durations)}
        footprint = draw(st.integers(GB, 60 * GB))
        jobs.append(Job(f"job{n}", footprint, "memory model", hours, after, running))
    layers = draw(st.integers(1, 12))
    features = {layer: draw(st.integers(1, 330)) for layer in range(1, layers + 1)}
    kinds = draw(st.sets(st.sampled_from([ANY, *KINDS]), min_size=1))
    shared = SharedJob(
        name="shared",
        footprint=draw(st.integers(GB, 50 * GB)),
        footprint_source="memory model",
        features=features,
        seconds={kind: Speed(draw(st.floats(0.5, 1000)), "pilot") for kind in sorted(kinds)},
        after=tuple(job.name for job in jobs if draw(st.integers(0, 4)) == 0),
    )
    return Work(tuple(jobs), shared)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Survey, Work, dict[int, int]]:
    """A floor, what to place there, and by how much its tenants may grow."""
    floor = draw(surveys())
    growth = {gpu.index: draw(st.just(0) | st.integers(0, 20 * GB)) for gpu in floor.gpus}
    return floor, draw(works(floor)), growth
