"""One network call by several processes (torchrun): each has a part of the tokens, and of the heads while they attend.

The first process leads an edit: it alone reads, draws, writes and speaks. It tells the others each network call, and
they run their part of it (DeepSpeed-Ulysses, Jacobs et al. 2023, by diffusers' hooks).
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from flowedit.messages import InputError, MachineError, first_line
from flowedit.networks.recorder import Recorder, recording
from flowedit.types import Conditioning

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the first one decodes for minutes, and torchrun ends all with one."""

FAILED = "failed"
"""What a process that fails leaves for the first one to see."""


class Ended(SystemExit):
    """Another process of this edit failed, and has said why."""


def launched() -> int:
    """The number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def follows() -> bool:
    """Whether another process leads this one."""
    return launched() > 1 and int(os.environ.get("RANK", "0")) > 0


def check(asked: int) -> None:
    """Raise InputError where torchrun started another number of processes than `runtime.context_parallel` asks for."""
    if (started := launched()) != asked:
        start = f"torchrun --nproc-per-node {max(asked, started)} scripts/edit.py ..."
        raise InputError(
            f"runtime.context_parallel={asked}, and {started} process{'es' if started > 1 else ''} "
            f"run{'' if started > 1 else 's'}: start as many, {start} runtime.context_parallel={max(asked, started)}"
        )


class Ranks:
    """The processes of one edit, joined: the first tells words and tensors, the others hear them."""

    def __init__(self, device: str) -> None:
        """Join the others; `device` is cpu, or auto or cuda for a GPU each. Raises MachineError for too few GPUs."""
        local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", str(launched())))
        gpu = device in ("auto", "cuda") and torch.cuda.is_available()
        if device not in ("auto", "cuda", "cpu"):
            raise InputError(f"runtime.device={device}: processes that share a call take auto, cuda or cpu")
        if gpu and here > torch.cuda.device_count():
            raise MachineError(
                f"runtime.context_parallel={here} needs as many GPUs, and {torch.cuda.device_count()} are here "
                "(runtime.device=cpu shares the processor)"
            )
        self.device = torch.device("cuda", local) if gpu else torch.device("cpu")
        if gpu:
            torch.cuda.set_device(local)
        self.store, self.rank, self.count = next(iter(rendezvous("env://", timeout=PATIENCE)))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "cpu:gloo",
            store=self.store,
            rank=self.rank,
            world_size=self.count,
            timeout=PATIENCE,
        )

    def tell(self, words: Mapping[str, Any], tensors: Sequence[Tensor] = ()) -> None:
        """To all others, by the first: words that JSON has, and tensors on this device."""
        shapes = [[list(each.shape), str(each.dtype).removeprefix("torch.")] for each in tensors]
        text = json.dumps([dict(words), shapes]).encode()
        with self.reporting():
            dist.broadcast(torch.tensor([len(text)]), 0)
            dist.broadcast(torch.frombuffer(bytearray(text), dtype=torch.uint8), 0)
            for each in tensors:
                dist.broadcast(each.contiguous(), 0)

    def hear(self) -> tuple[dict[str, Any], list[Tensor]]:
        """What the first process tells next."""
        size = torch.empty(1, dtype=torch.int64)
        dist.broadcast(size, 0)
        text = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(text, 0)
        words, shapes = json.loads(text.numpy().tobytes())
        tensors = [torch.empty(shape, dtype=getattr(torch, dtype), device=self.device) for shape, dtype in shapes]
        for each in tensors:
            dist.broadcast(each, 0)
        return words, tensors

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Inside, an error that comes from another process's end raises `Ended`: that process has said why."""
        try:
            yield
        except Exception:
            if self.store.check([FAILED]):
                raise Ended(1) from None
            raise

    def fail(self) -> None:
        """Let the first process know, before this one ends, that it has said why."""
        self.store.set(FAILED, "1")


JOINED: list[Ranks] = []
"""The processes of this run, once they are joined: there is one group in a process."""


def join(asked: int, device: str) -> Ranks | None:
    """The processes that torchrun started, joined once; None for one alone.

    Raises InputError where they are not as many as `asked`, MachineError where there are too few GPUs.
    """
    check(asked)
    if asked > 1 and not JOINED:
        JOINED.append(Ranks(device))
    return joined()


def joined() -> Ranks | None:
    """The processes of this run; None for one alone."""
    return JOINED[0] if JOINED else None


def needed(asked: int) -> Ranks | None:
    """The processes that share the calls of a network; None for one alone.

    Raises InputError where they are not as many as `asked`, or nobody joined them.
    """
    if asked > 1 and not JOINED:
        raise InputError(
            f"runtime.context_parallel={asked} needs {asked} processes: torchrun --nproc-per-node {asked} "
            f"scripts/edit.py clip=CLIP ... runtime.context_parallel={asked}"
        )
    return joined() if asked > 1 else None


@contextmanager
def leading(processes: Ranks | None) -> Iterator[None]:
    """What the first process does: the others end with it, whether it fails or not."""
    if processes is None:
        yield
        return
    try:
        yield
    except Ended:
        raise  # there is nobody left to hear
    except BaseException:
        processes.tell({"do": "end", "failed": True})
        raise
    processes.tell({"do": "end", "failed": False})


class Shared:
    """A transformer whose tokens and heads are spread over the processes; each call is made by all of them.

    `heads` are those of its attention, `plan` is diffusers' (`_cp_plan`): where a sequence is split and joined.
    Raises InputError for more processes than its heads can be spread over.
    """

    def __init__(self, network: Any, processes: Ranks, heads: int, plan: Mapping[str, Any]) -> None:
        from diffusers.hooks.context_parallel import apply_context_parallel
        from diffusers.models._modeling_parallel import ContextParallelConfig, ContextParallelOutput, ParallelConfig
        from torch.distributed.device_mesh import init_device_mesh

        count, share = processes.count, -(-heads // processes.count)
        if share * count - heads >= share:
            raise InputError(
                f"runtime.context_parallel={count} cannot spread the {heads} heads of this model: take less"
            )
        self._processes, self._share, self._heads = processes, share, heads
        self._config = ContextParallelConfig(ulysses_degree=count)
        whole = ParallelConfig(context_parallel_config=self._config)
        with processes.reporting():
            mesh = init_device_mesh(processes.device.type, (1, count), mesh_dim_names=("ring", "ulysses"))
            whole.setup(processes.rank, count, processes.device, mesh=mesh)
        for module in network.modules():
            processor: Any = getattr(module, "processor", None)
            if hasattr(processor, "_parallel_config"):
                processor._parallel_config = whole
        self._tokens = 0
        split = {where: how for where, how in plan.items() if not isinstance(how, ContextParallelOutput)}
        apply_context_parallel(network, self._config, split)
        for where, how in plan.items():
            if where not in split:  # diffusers' own joining asks for parts of one size, on a CPU
                network.get_submodule(where).register_forward_hook(partial(self._join, how.gather_dim))

    @contextmanager
    def told(self, words: Mapping[str, Any], tensors: Sequence[Tensor]) -> Iterator[None]:
        """Where the first process makes a call of these tensors, told to the others before."""
        self.even(*words["lengths"])
        self._processes.tell({"do": "run", **words}, tensors)
        with self._processes.reporting():
            yield

    def ordered(self, recorder: Recorder) -> "Ordered":
        """The recorder behind the order in which the processes bring their tokens."""
        return Ordered(recorder, self._processes.count)

    def even(self, tokens: int, *text: int) -> None:
        """A call of so many tokens of video, and of text where it is split too.

        It takes the quicker way where they, and the heads, divide by the number of processes.
        """
        count, lengths = self._processes.count, (tokens, *text)
        if min(lengths) < count:
            raise InputError(f"runtime.context_parallel={count} is more than the {min(lengths)} tokens of a call")
        self._tokens = tokens
        self._config.ulysses_anything = any(each % count for each in (*lengths, self._heads))

    def whole(self, text: int) -> Callable[[Tensor], Tensor]:
        """From this process's maps (rows, K, n) to those of all.

        Where text is among the queries a process has all tokens and some heads, and the mean over heads is taken over
        all; else it has some of the tokens.
        """

        def mean(maps: Tensor) -> Tensor:
            counts = [min(self._share, self._heads - rank * self._share) for rank in range(self._processes.count)]
            parts = self._gathered(maps, [maps.shape[-1]] * len(counts))
            total = sum(part * (count / self._heads) for part, count in zip(parts, counts, strict=True))
            assert isinstance(total, Tensor)
            return total

        return mean if text else lambda maps: self._join(-1, None, None, maps)

    def _join(self, axis: int, module: Any, inputs: Any, part: Tensor) -> Tensor:
        """The parts of the video's tokens, which lie along an axis, of all processes; a hook on a module's output."""
        count, rest = self._processes.count, self._tokens % self._processes.count
        sizes = [self._tokens // count + (rank < rest) for rank in range(count)]  # as torch.tensor_split has them
        return torch.cat(self._gathered(part.movedim(axis, -1), sizes), -1).movedim(-1, axis)

    def _gathered(self, part: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The tensors of all processes, whose last axes have these sizes."""
        padded = torch.nn.functional.pad(part, (0, max(sizes) - part.shape[-1])).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        with self._processes.reporting():
            dist.all_gather(parts, padded)
        return [each[..., :size] for each, size in zip(parts, sizes, strict=True)]


class Ordered:
    """A recorder that is given the tokens of a joint sequence in their own order.

    The processes bring [text, video] each, so that a shared call has [text_0, video_0, text_1, video_1, ...].
    """

    inside = False

    def __init__(self, recorder: Recorder, count: int) -> None:
        self._recorder, self._count = recorder, count

    @property
    def active(self) -> bool:
        """Whether an evaluation with tokens to read is under way."""
        return self._recorder.active

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        """As the recorder's, in the order in which the tokens come; of a network that masks no keys."""
        assert mask is None
        if not text:
            return self._recorder.attend(q, k, v, scale, text)
        place = torch.arange(q.shape[2], device=q.device)
        parts = zip(place[:text].tensor_split(self._count), place[text:].tensor_split(self._count), strict=True)
        came = torch.cat([torch.cat(pair) for pair in parts])  # of each token as it comes: its place
        order = came.argsort()
        out = self._recorder.attend(q[:, :, order], k[:, :, order], v[:, :, order], scale, text)
        return out[:, :, came]


@dataclass(frozen=True, eq=False)
class RankShare:
    """What a process that follows runs: the shared transformer, its call, and what is read in it."""

    shared: Shared
    call: Callable[..., Tensor]
    """call(x, timestep, embedding, *extras)."""
    modules: Sequence[torch.nn.Module]
    """Its attention modules that see text, one a block."""
    text: int
    """How many of their first queries are text."""


def follow(processes: Ranks, load: Callable[[dict[str, Any]], RankShare]) -> int:
    """Run this process's parts until the first process ends, and give the exit code; an error is said in one line.

    `load` makes a part of what the first process says of its checkpoint.
    """
    part: RankShare | None = None
    try:
        while True:
            words, tensors = processes.hear()
            if words["do"] == "end":
                return int(words["failed"])
            if words["do"] == "load":
                part = load(words)
                continue
            assert part is not None
            _part(part, words, tensors)
    except Exception as error:
        with suppress(Exception):  # the first process may be gone, and the store with it: it has spoken, or was killed
            if processes.store.check([FAILED]):
                return 1
            processes.fail()
            place = f"process {processes.rank} of {processes.count}"
            print(f"flowedit: {place}: {first_line(error)}", file=sys.__stderr__, flush=True)
        return 1


@torch.no_grad()
def _part(part: RankShare, words: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
    """This process's part of one network call, and of what is read of it."""
    part.shared.even(*words["lengths"])
    read = words["read"]
    if read is None:
        part.call(*tensors)
        return
    prompt = Conditioning("", torch.zeros(0, device=tensors[0].device), ((0, 0),) * read["unpadded"])
    whole = part.shared.whole(part.text)
    recorder = Recorder({prompt: read["tokens"]}, read["normalise"], whole, groups=read["groups"])
    modules = [part.modules[i] for i in read["modules"]]
    with (
        recording(modules, part.shared.ordered(recorder), part.text),
        recorder.rows(prompt, slice(*read["rows"]), []),
    ):
        part.call(*tensors)
