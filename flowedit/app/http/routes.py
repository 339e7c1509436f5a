"""The API: HTTP on one side, `Studio` on the other, and every refusal in one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from flowedit.app.clips import POSTER, SHOWN, StoredClip
from flowedit.app.desk.studio import Studio
from flowedit.app.films import PLAYER
from flowedit.app.history import PAGE
from flowedit.app.http.uploads import Form, received, text_of
from flowedit.app.labels import on_page
from flowedit.app.limits import FullError, NoSpaceError, NotNowError, TooMuchError, UnknownError
from flowedit.machine import parsed_json
from flowedit.messages import Error, FileError, InputError, one_line

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownError, 404),
    (NotNowError, 409),
    (TooMuchError, 413),
    (InputError, 422),
    (FullError, 429),
    (NoSpaceError, 507),
    (FileError, 500),
    (Exception, 500),
)
"""What is answered to which error."""

DECODING = 2
"""Uploads, and masks of jobs that are asked for, that are decoded at once."""

FILMING, DRAWING = 1, 2
"""Players, and pictures of edits, that are made at once: they are short, and the device is another's."""

PAGE_POLICY = (
    "default-src 'self' data: 'unsafe-inline'; connect-src 'none'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-scripts allow-popups allow-downloads"
)
"""What a report may do: show what lies beside it, and nothing else; to the studio it is as another site."""


def _form_of(**fields: str) -> dict[str, Any]:
    """A form for the OpenAPI page: fields by name, `file` or `text`; one that ends in ? need not be there."""
    kinds = {
        name: {"type": "string", **({"format": "binary"} if kind.startswith("file") else {})}
        for name, kind in fields.items()
    }
    needed = [name for name, kind in fields.items() if not kind.endswith("?")]
    schema = {"type": "object", "properties": kinds, "required": needed}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _json_of(**fields: str) -> dict[str, Any]:
    """A JSON object for the OpenAPI page."""
    schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in fields.items()}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_routes(app: FastAPI, studio: Studio) -> None:
    """The API of a studio, and what its errors are answered with."""
    app.include_router(_router(studio))
    for kind, status in STATUS:
        app.add_exception_handler(kind, _answering(status, studio.options.allow))
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_query)


def _answering(status: int, allow: Sequence[str]) -> Any:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        ends = {"Connection": "close"} if status in (413, 507) else {}  # what is still on its way is not waited for
        return JSONResponse({"error": on_page(one_line(error), allow)}, status, ends)

    return answer


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith("/api/"):
        return Response(str(error.detail), error.status_code, headers=error.headers)
    texts = {
        404: f"nothing is at {request.url.path[:200]}: /docs lists what is there",
        405: "no such method here: /docs lists them",
    }
    return JSONResponse({"error": texts.get(error.status_code, str(error.detail))}, error.status_code)


async def _of_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"error": f"{first['loc'][-1]} {str(first['input'])[:80]!r}: {first['msg']}"}, 422)


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; raises InputError for anything else, and TooMuchError for a long one."""
    return _object(parsed_json(await text_of(request), "the request"))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError('the request is not a JSON object: write {"kind": "edit", "clip": ID, "settings": {}}')
    return value


def owner(request: Request) -> str:
    """Whose request it is, as `access.Guard` says."""
    return str(request.state.owner)


def _file_of(form: Form, name: str) -> tuple[Path, str]:
    if name not in form.files:
        raise InputError(f"the form has no file {name!r}: send it under this name")
    return form.files[name]


def _settings_of(form: Form) -> Any:
    return parsed_json(form.texts.get("settings", "{}").encode(), "settings")


def _made_here(path: Path) -> bool:
    """Whether a clip is an edit that holds its settings; what was made from text alone is none."""
    import flowedit

    try:
        return "prompt" not in flowedit.settings_from(path)
    except Error:
        return False


def _router(studio: Studio) -> APIRouter:
    api = APIRouter(prefix="/api")
    clips, most, refuse = studio.root / "clips", studio.options.most_bytes, studio.clips.too_large

    decoding, filming, drawing = (CapacityLimiter(most) for most in (DECODING, FILMING, DRAWING))

    async def kept(path: Path, name: str, who: str) -> StoredClip:
        """A clip of an upload; who waits for others' to be read holds no thread."""
        return await to_thread.run_sync(studio.add_clip, path, name, who, limiter=decoding)

    async def submitted(kind: Any, clip: str, settings: Any, who: str, mask: Any) -> str:
        """The id of a job; a mask in a file is looked through, so it waits as an upload does."""
        limiter = decoding if isinstance(mask, dict) and mask.get("file") else None
        return await to_thread.run_sync(studio.submit, kind, clip, settings, who, mask, limiter=limiter)

    @api.post("/clips", status_code=201, tags=["clips"], openapi_extra=_form_of(file="file"))
    async def add_clip(request: Request) -> dict[str, Any]:
        """Upload a clip or a still image; its facts come back, with the id that jobs name."""
        async with received(request, clips, most, refuse) as form:
            path, name = _file_of(form, "file")
            clip = await kept(path, name, owner(request))
        return clip.plain() | {"made_here": await run_in_threadpool(_made_here, studio.clips.path(clip.id))}

    @api.get("/clips/{id}", tags=["clips"])
    def clip(id: str) -> dict[str, Any]:
        """A clip's facts."""
        return studio.clip(id).plain()

    @api.delete("/clips/{id}", status_code=204, tags=["clips"], response_class=Response)
    def delete_clip(id: str, request: Request) -> Response:
        """Remove a clip; what was made of it stays."""
        studio.delete_clip(id, owner(request))
        return Response(status_code=204)

    @api.get("/clips/{id}/video.mp4", tags=["clips"], response_class=FileResponse)
    def clip_video(id: str) -> FileResponse:
        """The clip as browsers play it; ranges of bytes can be asked for."""
        return FileResponse(studio.clips.folder(id) / SHOWN)

    @api.get("/clips/{id}/original", tags=["clips"], response_class=FileResponse)
    def clip_original(id: str) -> FileResponse:
        """The file that is edited, as it was uploaded: with it a job's command makes the same bytes elsewhere."""
        clip = studio.clip(id)
        return FileResponse(studio.clips.path(id), media_type="application/octet-stream", filename=clip.given)

    @api.get("/clips/{id}/poster.jpg", tags=["clips"], response_class=FileResponse)
    def clip_poster(id: str) -> FileResponse:
        """The clip's first frame."""
        return FileResponse(studio.clips.folder(id) / POSTER)

    @api.post(
        "/jobs",
        status_code=202,
        tags=["jobs"],
        openapi_extra=_json_of(kind="string", clip="string", settings="object", mask="object"),
    )
    async def add_job(request: Request) -> dict[str, Any]:
        """Put a job in the queue: kind (edit, look, compare), the clip's id, settings by name, and a mask if wished."""
        body = await body_of(request)
        if unknown := set(body) - {"kind", "clip", "settings", "mask"}:
            raise InputError(f"unknown key {sorted(unknown)[0][:80]!r}: kind, clip, settings, mask")
        kind, clip, mask = body.get("kind", "edit"), str(body.get("clip")), body.get("mask")
        return {"id": await submitted(kind, clip, body.get("settings", {}), owner(request), mask)}

    @api.post(
        "/edits", status_code=202, tags=["jobs"], openapi_extra=_form_of(clip="file", settings="text", mask="file?")
    )
    async def add_edit(request: Request) -> dict[str, Any]:
        """Upload a clip and put its edit in the queue, both at once."""
        async with received(request, clips, most, refuse) as form:
            path, name = _file_of(form, "clip")
            settings, who = _settings_of(form), owner(request)
            studio.check_room(who)
            clip = await kept(path, name, who)
            mask = None
            if "mask" in form.files:
                mask = {"file": (await kept(*form.files["mask"], who)).id}
        return {"id": await submitted("edit", clip.id, settings, who, mask)}

    @api.get("/jobs", tags=["jobs"])
    def jobs(request: Request) -> list[dict[str, Any]]:
        """Your jobs, in the order in which they were asked for."""
        return studio.jobs(owner(request))

    @api.get("/jobs/{id}", tags=["jobs"])
    def job(id: str) -> dict[str, Any]:
        """How far a job is, and what it left."""
        return studio.status(id)

    @api.post("/jobs/{id}/stop", tags=["jobs"])
    def stop(id: str, request: Request) -> dict[str, Any]:
        """Stop a job: it ends within a step and keeps what it has."""
        studio.stop(id, owner(request))
        return studio.status(id)

    @api.delete("/jobs/{id}", status_code=204, tags=["jobs"], response_class=Response)
    def delete(id: str, request: Request) -> Response:
        """Remove a job and its files."""
        studio.delete(id, owner(request))
        return Response(status_code=204)

    @api.get("/jobs/{id}/preview.jpg", tags=["jobs"], response_class=Response)
    def preview(id: str) -> Response:
        """What the job that runs looks like so far."""
        return Response(studio.preview(id), media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @api.get("/jobs/{id}/files/{name:path}", tags=["jobs"], response_class=FileResponse)
    async def file(id: str, name: str) -> Response:
        """A file of a job, by the names in its status."""
        path = await run_in_threadpool(studio.file, id, name)
        if path is None:  # who waits for others' to be made holds no thread
            path = await to_thread.run_sync(studio.make_file, id, name, limiter=filming if name == PLAYER else drawing)
        if path.suffix == ".html":
            return HTMLResponse(
                await run_in_threadpool(studio.page, id, path), headers={"Content-Security-Policy": PAGE_POLICY}
            )
        return FileResponse(path)

    @api.post(
        "/looks/{id}/mask",
        tags=["masks"],
        openapi_extra=_json_of(quantile="number", grow="number", strokes="array", boxes="array"),
    )
    async def look_mask(id: str, request: Request) -> dict[str, Any]:
        """The mask of a look under a threshold, a growth, strokes and boxes: a strip of all frames."""
        adjust = await body_of(request)
        return await run_in_threadpool(studio.look_mask, id, adjust)

    @api.get("/history", tags=["history"])
    def history(request: Request, after: str = "", most: int = PAGE) -> list[dict[str, Any]]:
        """Your edits that are there, the newest first; after one by its id; fewer than `most` are the last."""
        return studio.history(owner(request), after, most)

    @api.post("/settings", tags=["history"], openapi_extra=_form_of(file="file"))
    async def settings(request: Request) -> dict[str, Any]:
        """The settings in an edit.mp4, edit.png or run.yaml, and what is to be said of them: {settings, notices}."""
        notices: list[str] = []
        async with received(request, clips, most, refuse) as form:
            path, name = _file_of(form, "file")
            named = path.with_suffix(".yaml" if name.lower().endswith((".yaml", ".yml")) else ".mp4")
            path.rename(named)
            shown = name.replace("\0", "")[:200] or "the file"
            held = await run_in_threadpool(studio.settings_from, named, shown, notices.append)
        return {"settings": held, "notices": notices}

    @api.get("/backbones", tags=["machine"])
    def backbones() -> list[dict[str, Any]]:
        """The models: size, license, whether each fits this machine and is here."""
        return studio.backbones()

    @api.post("/backbones/{name}/download", status_code=202, tags=["machine"])
    def download(name: str) -> list[dict[str, Any]]:
        """Download a model, or go on with it."""
        studio.download(name)
        return studio.backbones()

    @api.post("/backbones/{name}/stop", tags=["machine"])
    def stop_download(name: str) -> list[dict[str, Any]]:
        """End a download; what is there stays."""
        studio.stop_download(name)
        return studio.backbones()

    @api.get("/options", tags=["machine"])
    def options(mode: str = "", backbone: str = "") -> list[dict[str, Any]]:
        """Every option of an edit: what it is, its range, its default for this mode and backbone."""
        return studio.options_of_edits(mode[:80], backbone[:80])

    @api.get("/limits", tags=["machine"])
    def limits() -> dict[str, Any]:
        """What is taken: MiB of an upload, seconds of a clip, jobs that wait."""
        own = studio.options
        return {"upload_mib": own.upload_limit, "longest": own.longest, "queue": own.queue, "local": own.local}

    @api.post("/examples/{name}", status_code=201, tags=["clips"])
    def example(name: str, request: Request) -> dict[str, Any]:
        """A clip that comes with flowedit, and the settings of its edit."""
        return studio.example(name, owner(request))

    @api.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def nothing(rest: str) -> None:
        """Whatever else is asked for; the page at / would answer it otherwise."""
        raise UnknownError(f"nothing is at /api/{rest[:200]}, or not by this method: /docs lists what is there")

    return api
