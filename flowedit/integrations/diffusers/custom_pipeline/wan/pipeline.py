"""For `custom_pipeline=` of diffusers: its Wan, which edits with the installed flowedit."""

# diffusers runs every file of this name in one module, where it takes one class alone: so all have one name.
from flowedit.integrations.diffusers.pipelines import WanFlowEditPipeline as FlowEditPipeline

__all__ = ["FlowEditPipeline"]
