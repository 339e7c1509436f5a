"""Interruption and memory as in ComfyUI's module of the same name; see ../README.md."""

FREED = []
_interrupted = False


class InterruptProcessingException(Exception):
    """What ends a run that the user stopped."""


def interrupt_current_processing(value=True):
    """The stop button."""
    global _interrupted
    _interrupted = value


def processing_interrupted():
    """Whether it was pressed."""
    return _interrupted


def throw_exception_if_processing_interrupted():
    """End the run, once."""
    if _interrupted:
        interrupt_current_processing(False)
        raise InterruptProcessingException


def unload_all_models():
    """ComfyUI's own models leave the device."""
    FREED.append("models")


def soft_empty_cache():
    """And what torch kept of their memory."""
    FREED.append("cache")
