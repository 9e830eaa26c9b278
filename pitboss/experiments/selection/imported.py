"""Feature statistics from elsewhere, in place of those of the study's own games."""

from pitboss.errors import BadInput
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.models.catalogue import LAB_DIR, sae_release
from pitboss.saes.imported import FeatureSpace, ImportedStatistics, import_statistics
from pitboss.studies.model import ModelChoice


def imported_table(settings: SelectionSettings, model: ModelChoice) -> ImportedStatistics | None:
    """The table that the settings name, checked; None where they name games.

    Raises:
        BadInput: The file is missing or damaged, or has layers that the selection does not.
        Mismatch: The table belongs to another space, model, SAE, gate or hook point.
    """
    declared = settings.imported
    if declared is None:
        return None
    own = FeatureSpace(
        space="sae",
        model=model.id,
        sae=model.sae,
        gate=settings.gate,
        hook_point="blocks.{layer}.hook_resid_post",
        token="prompt_last",
        d_sae=sae_release(model.sae).d_sae,
    )
    path = LAB_DIR.parent / declared.path
    table = import_statistics(path, declared=declared.model_dump(exclude={"path"}), own=own)
    strangers = sorted(set(table.frame["layer"]) - set(settings.layers))
    if strangers:
        raise BadInput(
            f"The table has features of layers {strangers}, which the study does not use.",
            where=str(path),
            next="Name these layers in the layers of the selection.",
        )
    return table
