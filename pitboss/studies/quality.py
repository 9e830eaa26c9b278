"""When an experiment is stopped because too few of its responses are of use."""

from typing import Annotated

from pydantic import Field

from pitboss.studies.fields import Count, Section

Part = Annotated[float, Field(ge=0, le=1)]


class Quality(Section):
    """What an experiment's responses must be like for it to go on; changes no result."""

    readable: Part = 0.5
    """Least share of the responses that state a decision, as the experiment's reader reads them; a
    decision that an original-* reader makes up is none. A share misses a limit when its 95 %
    interval (Clopper and Pearson) lies beyond it, so that few responses stop nothing by chance."""

    cut_off: Part = 0.5
    """Largest share of the responses that reach the token limit before they state a decision."""

    after: Count = 200
    """Responses from which on the shares are looked at after each part that is stored; once all
    are in they are looked at however few there are. Of patched experiments the unpatched runs are
    looked at, in patching scene by scene."""
