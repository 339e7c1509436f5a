"""Schemas and nodes as ComfyUI's V3 API has them, with the old form that it makes of them; see ../../README.md."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

COMMON = ("display_name", "optional", "tooltip", "lazy", "extra_dict", "raw_link", "advanced")
WIDGET = (*COMMON, "default", "socketless", "force_input")
NUMBER = (*WIDGET, "min", "max", "step", "display_mode")


class NumberDisplay(StrEnum):
    """How a number is set on the page."""

    number = "number"
    slider = "slider"


class Hidden(StrEnum):
    """What a node may ask of the run."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"


class Input:
    """One input: what the real class does not take is refused."""

    def __init__(self, kind, known, id, **options):
        if lost := set(options) - set(known):
            raise TypeError(f"{kind}.Input got unexpected keywords {sorted(lost)}")
        self.io_type, self.id, self.options, self.widget = kind, id, options, "default" in known
        self.optional = options.get("optional", False)
        self.lists = options.get("options")

    def as_v1(self):
        """The pair of the old form."""
        told = {
            key: each.value if isinstance(each, Enum) else each
            for key, each in self.options.items()
            if key != "optional"
        }
        return (self.io_type, told)


class Output:
    """One output."""

    def __init__(self, kind, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.io_type, self.id, self.display_name, self.tooltip = kind, id, display_name, tooltip


def _type(kind, known=COMMON):
    class Made:
        io_type = kind

        @staticmethod
        def Input(id, **options):
            return Input(kind, known, id, **options)

        @staticmethod
        def Output(**options):
            return Output(kind, **options)

    return Made


def Custom(kind):
    """A type of one's own."""
    return _type(kind)


Image, Mask, Video, Audio = _type("IMAGE"), _type("MASK"), _type("VIDEO"), _type("AUDIO")
AnyType = _type("*")
Int = _type("INT", (*NUMBER, "control_after_generate"))
Float = _type("FLOAT", (*NUMBER, "round"))
Boolean = _type("BOOLEAN", (*WIDGET, "label_on", "label_off"))
String = _type("STRING", (*WIDGET, "multiline", "placeholder", "dynamic_prompts"))
Combo = _type("COMBO", (*WIDGET, "options", "control_after_generate", "upload"))


@dataclass
class Schema:
    """What a node is."""

    node_id: str
    display_name: str = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    hidden: list = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False

    def validate(self):
        """No id twice."""
        ids = [each.id for each in self.inputs]
        if len(set(ids)) < len(ids):
            raise ValueError(f"{self.node_id}: ids must be unique: {ids}")


class NodeOutput:
    """What a node gives, and what the page shows of it."""

    def __init__(self, *args, ui=None):
        self.args, self.ui = args, ui


class _OfTheClass:
    def __init__(self, function):
        self._function = function

    def __get__(self, instance, owner):
        return self._function(owner)


class ComfyNode:
    """A node; the names in capitals are the old form."""

    hidden = None
    FUNCTION = "EXECUTE_NORMALIZED"
    CATEGORY = _OfTheClass(lambda cls: cls.GET_SCHEMA().category)
    OUTPUT_NODE = _OfTheClass(lambda cls: cls.GET_SCHEMA().is_output_node)
    RETURN_TYPES = _OfTheClass(lambda cls: [each.io_type for each in cls.GET_SCHEMA().outputs])

    @classmethod
    def GET_SCHEMA(cls):
        """The schema, checked."""
        schema = cls.define_schema()
        schema.validate()
        return schema

    @classmethod
    def INPUT_TYPES(cls):
        """The inputs in the old form."""
        made = {"required": {}, "optional": {}}
        for each in cls.GET_SCHEMA().inputs:
            made["optional" if each.optional else "required"][each.id] = each.as_v1()
        return made

    @classmethod
    def EXECUTE_NORMALIZED(cls, **inputs):
        """A run of the node."""
        made = cls.execute(**inputs)
        return made if isinstance(made, NodeOutput) else NodeOutput(*made)
