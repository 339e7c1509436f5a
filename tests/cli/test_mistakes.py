"""A mistyped command line is answered with the line that helps; what helps parses itself."""

import re
import shlex
import subprocess
import sys

import pytest

from flowedit.cli import main, mistakes

SENTENCE = "replace the fox with a panda"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, clip_file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        # a forgotten subcommand
        (f'clip.mp4 "{SENTENCE}"', f"no command before 'clip.mp4': flowedit edit clip.mp4 '{SENTENCE}'"),
        (f"other.mov {SENTENCE} --steps 3", f"flowedit edit other.mov '{SENTENCE}' --steps 3"),
        ("edits.yaml", "no command before 'edits.yaml': flowedit edit edits.yaml"),
        (f'"{SENTENCE}"', f'no command and no clip before the text: flowedit edit CLIP "{SENTENCE}"'),
        (SENTENCE, f'flowedit edit CLIP "{SENTENCE}"'),
        ("--steps 4", "no command before --steps: flowedit edit CLIP --steps 4"),
        # a typo in it
        ("edti clip.mp4", "unknown command 'edti'; did you mean 'edit'?"),
        ("Compare clip.mp4", "did you mean 'compare'?"),
        ("genrate", "did you mean 'generate'?"),
        ("benhc", "did you mean 'bench'?"),
        ("xyzzy", "unknown command 'xyzzy': one of edit, generate, compare, evaluate, bench, list"),
        # an unquoted instruction, a forgotten clip
        (f"edit clip.mp4 {SENTENCE}", f'quote the instruction: flowedit edit clip.mp4 "{SENTENCE}"'),
        ("edit clip.mp4 --box 30 66 118 122", "'66 118 122' stands alone: join the numbers of one option by commas"),
        ("compare clip.mp4 --point 80 40", "'40' stands alone"),
        (f"compare clip.mp4 {SENTENCE}", f'quote the instruction: flowedit compare clip.mp4 "{SENTENCE}"'),
        (f"edit {SENTENCE}", f'no clip before the text: flowedit edit CLIP "{SENTENCE}"'),
        (f'edit "{SENTENCE}"', f'no clip before the text: flowedit edit CLIP "{SENTENCE}"'),
        ("edit", "no clip: flowedit edit CLIP"),
        ("compare", "no clip: flowedit compare CLIP"),
        ("evaluate", "one dataset, not 0: flowedit evaluate DATASET"),
        ("edit clip.mp4 --target a red fox", '--target "a red fox"'),
        ("edit clip.mp4 clip.mp4", "one clip at a time, not 2"),
        ("edit --example foxx", "no example is called 'foxx': one of fox, two, koala, cup; did you mean 'fox'?"),
        # flags of other programs
        ("edit clip.mp4 --device cuda", "unknown option --device: it is written runtime.device=... here"),
        ("edit clip.mp4 --prompt x", "unknown option --prompt: it is written --target here"),
        ("edit clip.mp4 --num-inference-steps 4", "it is written --steps here"),
        ("edit clip.mp4 --num_inference_steps=4", "it is written --steps here"),
        ("edit --input clip.mp4", "the clip needs no flag, flowedit edit CLIP"),
        ("edit clip.mp4 --output x", "unknown option --output; did you mean --out?"),
        ("edit clip.mp4 --guidance_scale 4", "did you mean --target-guidance-scale?"),
        ("generate fox --source x", "flowedit generate has no --source"),
        ("bench --user-mask x", "flowedit bench has no --user-mask"),
        ("edit clip.mp4 device=cuda", "unknown key 'device'; here it is called runtime.device"),
        # generation
        ("generate", 'no prompt: flowedit generate "a fox moves right over green grass"'),
        ("generate a red fox", 'quote the prompt: flowedit generate "a red fox"'),
        ("generate --prompt a red fox", 'one prompt, quoted: flowedit generate "a red fox"'),
        ("generate fox strength=0.5", "generation has no strength"),
        ("generate fox mask.pool=0.5", "generation has no mask.pool"),
        ("generate fox mode=inversion", "generation has no mode"),
        ("generate fox out=file", "'file' is not a folder"),
        # a place that cannot be, before anything is loaded
        ("edit clip.mp4 --source a --target b --out file", "out 'file' cannot be made: 'file' is not a folder"),
        ("edit clip.mp4 --source a --target b out=file/x", "file' is not a folder"),
    ],
)
def test_the_line_that_helps(command, line, says, monkeypatch):
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", None)
    code, out, err = command(*shlex.split(line))
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("flowedit: ")
    assert says in last
    assert "load" not in err.splitlines()


def test_what_a_line_suggests_is_a_command_line():
    for argv in (["clip.mp4", *SENTENCE.split(), "--steps", "3"], [SENTENCE], ["--steps", "4"]):
        said = mistakes.no_command(argv, main.COMMANDS)
        offered = shlex.split(re.search(r"flowedit (edit .*?)(?: \(one of.*)?$", said)[1].replace("CLIP", "clip.mp4"))
        options = main._parse(offered)
        assert options.rest[0] == "clip.mp4"
        assert len(options.rest) <= 2


def test_a_text_is_no_file_and_a_file_is_no_text():
    for text in ("clip.mp4", "a/b/clip.MOV", "狐狸.mkv"):
        assert mistakes.is_file(text)
    for text in ("replace it.", "a fox", "fox", "a 2.5 m fox", "version 1.25"):
        assert not mistakes.is_file(text)


def test_help_begins_with_what_is_used_most(command):
    _, out, _ = command("edit", "--help")
    titles = re.findall(r"^([a-z ]+):$", out, re.MULTILINE)
    assert titles[:3] == ["positional arguments", "most used", "what to change"]
    first = out[out.index("most used:") : out.index("what to change:")]
    assert re.findall(r"^  (--[\w-]+)", first, re.MULTILINE) == [
        "--source", "--backbone", "--mode", "--quality", "--strength", "--edit-strength", "--out"
    ]  # fmt: skip
    for name in ("generate", "compare", "evaluate", "bench"):
        shown = command(name, "--help")[1]
        assert "most used:" in shown
        assert shown.count("--help") == 1
        assert shown.startswith(f"usage: flowedit {name} ")


def test_generation_explains_its_flags_by_what_they_mean_to_it(command):
    said = " ".join(command("generate", "--help")[1].split())
    assert "--frames N frames to make; without it as many as the backbone was trained on" in said
    assert "outputs/generate/<time>" in said
    assert "--seed N random seed (default 0)" in said
    assert not re.search(r"frames to read|without it the clip's own|outputs/<clip>|both sides", said)


def test_a_bare_list_leaves_the_options_out(command):
    _, out, _ = command("list")
    assert "mask.threshold" not in out
    assert "inversion_free" in out
    assert out.splitlines()[-1] == "flowedit list options prints every option"
    assert "mask.threshold" in command("list", "options")[1]


def test_a_list_breaks_its_texts_at_the_width_of_a_terminal_and_never_in_a_file(command, monkeypatch):
    whole = command("list", "editors")[1]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    broken = command("list", "editors")[1]
    assert max(map(len, whole.splitlines())) > 120
    assert max(map(len, broken.splitlines()[1:])) <= 80
    assert broken.split() == whole.split()


def test_the_package_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "flowedit", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"flowedit \d+\.\d+\.\d+\n", done.stdout)


def test_a_prompt_may_stand_alone_or_behind_its_flag(command, monkeypatch):
    heard = []

    def stop(settings, *_):
        heard.append(settings)
        raise ValueError("caught")

    monkeypatch.setattr("flowedit.pipeline.api.generate_settings", stop)
    for args in (("a fox", "steps=3"), ("--prompt", "a fox", "--steps", 3), ("--steps", 3, "a fox")):
        command("generate", *args)
    assert len(heard) == 3
    assert heard[0] == heard[1] == heard[2]
    assert (heard[0].target, heard[0].steps, heard[0].mode.name) == ("a fox", 3, "random_noise")
    command("generate", "fox")
    assert heard[3].target == "fox"


def test_the_end_of_an_edit_lists_what_it_left(command, backbone_2b):
    flags = ("--source", "a dog runs", "--target", "a fox runs", "--strength", 0, "--size", "48x32", "--frames", 1)
    code, out, err = command("edit", "clip.mp4", "--backbone", backbone_2b, *flags, "--out", "new")
    assert (code, out) == (0, "new/edit.mp4\n")
    end = err.splitlines()[err.splitlines().index("in new:") + 1 :]
    assert [line.split()[0] for line in end] == ["edit.mp4", "compare.mp4", "run.yaml"]
    assert all(len(line.split()) > 2 for line in end)
    code, out, err = command("edit", "clip.mp4", "--backbone", backbone_2b, *flags, "--out", "new", "--quiet")
    assert (code, out) == (0, "new/edit.mp4\n")
    assert "in new:" not in err


def test_an_option_in_the_place_of_a_command_is_answered():
    assert mistakes.no_command(["steps=3", "edit"], main.COMMANDS).startswith("unknown command 'steps=3'")
