"""What a survey says: GPUs and the processes that hold memory of them. Sizes are bytes as int."""

from dataclasses import dataclass

from pitboss.errors import BadInput

# The driver alone keeps some hundred megabytes of a GPU that nobody uses.
DRIVERS_OWN = 1_000_000_000
HIDDEN = "processes that the driver does not name"
NVML = "nvml"


@dataclass(frozen=True)
class Tenant:
    """One process that holds memory of a GPU.

    Attributes:
        pid: Process number as NVML gives it; None in surveys from a file.
        user: Owner; None where the kernel does not say (another user's, or outside the container).
        command: Program and script or module, without arguments; None where unreadable.
        memory: Bytes; None where the driver does not say.
        ours: Whether Pitboss started it.
    """

    pid: int | None
    user: str | None
    command: str | None
    memory: int | None
    ours: bool

    @property
    def label(self) -> str:
        """How tables call it."""
        return self.command or (f"process {self.pid}" if self.pid else "unknown")

    @property
    def who(self) -> str:
        """How questions call it: a job of ours by its name, others by their user.

        A server that is started again has another pid but asks for the same permission.
        """
        return self.label if self.ours else self.user or self.label


@dataclass(frozen=True)
class Gpu:
    """One GPU at the time of a survey.

    Attributes:
        index: In PCI bus order, which CUDA follows with CUDA_DEVICE_ORDER=PCI_BUS_ID.
        uuid: The driver's name for this very card; None in surveys from a file.
        total, used: Bytes.
        utilisation: Percent of the last sample period; None where the driver does not say.
        temperature: Degrees Celsius; None where the driver does not say.
    """

    index: int
    uuid: str | None
    name: str
    total: int
    used: int
    utilisation: int | None
    temperature: int | None
    tenants: tuple[Tenant, ...]

    @property
    def free(self) -> int:
        """Bytes nobody holds."""
        return self.total - self.used

    @property
    def ours(self) -> int:
        """Bytes that Pitboss' own processes hold."""
        return sum(tenant.memory or 0 for tenant in self.tenants if tenant.ours)

    @property
    def unattributed(self) -> int:
        """Bytes in use that no listed tenant accounts for: the driver, or hidden processes."""
        return max(0, self.used - sum(tenant.memory or 0 for tenant in self.tenants))

    @property
    def present(self) -> tuple[Tenant, ...]:
        """The tenants; what hidden processes hold counts as one more."""
        if self.unattributed <= DRIVERS_OWN:
            return self.tenants
        hidden = Tenant(None, None, HIDDEN, self.unattributed, False)
        return (*self.tenants, hidden)

    @property
    def neighbours(self) -> tuple[str, ...]:
        """Everybody who is present as questions call them, in alphabetical order."""
        return tuple(sorted({tenant.who for tenant in self.present}))


@dataclass(frozen=True)
class Survey:
    """All GPUs of a host at one time.

    Attributes:
        taken: UTC, ISO 8601.
        source: "nvml", or the path of the file it was read from.
    """

    host: str
    taken: str
    source: str
    gpus: tuple[Gpu, ...]

    @property
    def live(self) -> bool:
        """Whether it comes from the driver, not from a file."""
        return self.source == NVML

    def gpu(self, index: int) -> Gpu:
        """The GPU with this index; raises BadInput naming those there are."""
        for gpu in self.gpus:
            if gpu.index == index:
                return gpu
        raise BadInput(
            f"There is no GPU {index} on {self.host}.",
            where=self.source,
            next=f"It has {', '.join(str(gpu.index) for gpu in self.gpus) or 'none'}.",
        )

    def room(self, gpu: Gpu) -> int:
        """Bytes that others leave on a GPU: what is free and what our own runs hold already.

        In a file, `ours` also marks other jobs of ours, which must not be disturbed.
        """
        return gpu.free + (gpu.ours if self.live else 0)
