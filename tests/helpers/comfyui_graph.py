"""What ComfyUI does around nodes, without its server: load a custom node's folder, read a saved workflow, run it.

Written anew from its public source; see comfyui_stub/README.md.
"""

import asyncio
import importlib.util
import inspect
import os
import sys
from types import SimpleNamespace

import torch


def load(folder):
    """The classes of a custom node's folder by name, as ComfyUI's `load_custom_node` finds them."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, "__init__.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if getattr(module, "NODE_CLASS_MAPPINGS", None) is not None:
        return dict(module.NODE_CLASS_MAPPINGS), dict(module.NODE_DISPLAY_NAME_MAPPINGS)
    return extension(module)


def extension(module):
    """The same by a module's V3 entry point."""
    entry = module.comfy_entrypoint
    made = asyncio.run(_listed(entry))
    schemas = [node.GET_SCHEMA() for node in made]
    names = {schema.node_id: schema.display_name for schema in schemas}
    return dict(zip(names, made, strict=True)), names


async def _listed(entry):
    found = await entry() if inspect.iscoroutinefunction(entry) else entry()
    await found.on_load()
    return await found.get_node_list()


def core_nodes(saved):
    """Two nodes that ComfyUI itself has; what they are given is added to the list `saved`."""
    from comfy_api.latest import io

    class SaveVideo(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="SaveVideo",
                inputs=[
                    io.Video.Input("video"),
                    io.String.Input("filename_prefix", default="video/ComfyUI"),
                    io.Combo.Input("format", options=["auto", "mp4", "mkv", "webm"], default="auto"),
                    io.Combo.Input("codec", options=["auto", "h264", "av1"], default="auto"),
                ],
                is_output_node=True,
            )

        @classmethod
        def execute(cls, video, filename_prefix, format, codec):
            saved.append((filename_prefix, video))
            return io.NodeOutput()

    class PreviewAny(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="PreviewAny", inputs=[io.AnyType.Input("source")], is_output_node=True)

        @classmethod
        def execute(cls, source):
            saved.append(("text", source))
            return io.NodeOutput()

    return {"SaveVideo": SaveVideo, "PreviewAny": PreviewAny}


def prompt_of(workflow, nodes):
    """What the page sends to be run: of a saved workflow each node's class and inputs, links as [node, output].

    The values of widgets stand in one list in the order of the schema, an action after a seed; a linked one stays.
    """
    links = {link[0]: link for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":  # which the page alone has
            continue
        values = iter(node.get("widgets_values") or [])
        inputs = {}
        for each in nodes[node["type"]].GET_SCHEMA().inputs:
            if each.widget:
                inputs[each.id] = next(values)
                if each.options.get("control_after_generate"):
                    assert next(values) in ("fixed", "increment", "decrement", "randomize")
        assert not list(values), f"{node['type']} has values that no widget takes"
        for entry in node["inputs"]:
            if entry.get("link") is not None:
                _, source, slot, target, place, kind = links[entry["link"]]
                assert target == node["id"]
                assert node["inputs"][place] is entry
                assert kind == entry["type"] or entry["type"] == "*"
                inputs[entry["name"]] = [str(source), slot]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def check(prompt, nodes):
    """Raise ValueError for what ComfyUI refuses before a run: inputs that lack, links of another type, values."""
    for number, node in prompt.items():
        for each in nodes[node["class_type"]].GET_SCHEMA().inputs:
            value, where = node["inputs"].get(each.id), f"{node['class_type']} {number}, {each.id}"
            if value is None:
                if not each.optional:
                    raise ValueError(f"{where}: required input is missing")
            elif isinstance(value, list):
                given = nodes[prompt[value[0]]["class_type"]].RETURN_TYPES[value[1]]
                if each.io_type not in (given, "*"):
                    raise ValueError(f"{where}: {given} is no {each.io_type}")
            elif each.io_type == "COMBO" and value not in each.lists:
                raise ValueError(f"{where}: {value!r} is not in the list")
            elif each.io_type in ("INT", "FLOAT") and not (
                each.options.get("min", value) <= value <= each.options.get("max", value)
            ):
                raise ValueError(f"{where}: {value} is out of range")


def run(prompt, nodes):
    """Check and run a prompt: output nodes and what they need, each once, in inference mode; node to its NodeOutput."""
    from comfy import model_management

    check(prompt, nodes)
    done = {}

    def result(number):
        if number not in done:
            node = prompt[number]
            inputs = {
                key: result(each[0]).args[each[1]] if isinstance(each, list) else each
                for key, each in node["inputs"].items()
            }
            model_management.throw_exception_if_processing_interrupted()
            kind = nodes[node["class_type"]]
            clone = type(f"{kind.__name__}Clone", (kind,), {"hidden": SimpleNamespace(unique_id=number)})
            with torch.inference_mode():
                done[number] = getattr(clone, clone.FUNCTION)(**inputs)
        return done[number]

    for number, node in prompt.items():
        if nodes[node["class_type"]].OUTPUT_NODE:
            result(number)
    return done
