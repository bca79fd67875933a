"""What the test Hub tells of its repositories: information, lists, files, references."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.hub import local_hub_cards as hub_cards
from tests.hub.local_hub_cards import values
from tests.hub.local_hub_repos import Commit, RefusalError, Repo

Query = Mapping[str, list[str]]
_SORTED = ("downloads", "createdAt", "lastModified")


def info(repo: Repo, commit: Commit, gated: str | bool, query: Query) -> dict[str, Any]:
    """Return what the Hub says of a repository; ``expand`` narrows it to the properties asked for."""
    card = commit.card
    entries = [commit.file(path) for path in commit.names()]
    siblings = [{"rfilename": entry["path"]} for entry in entries]
    if "true" in values(query.get("blobs")):
        for sibling, entry in zip(siblings, entries, strict=True):
            sibling |= {"size": entry["size"], "blobId": entry["oid"]}
            if lfs := entry.get("lfs"):
                sibling["lfs"] = {"sha256": lfs["oid"], **lfs}
    tags = hub_cards.tags(repo.kind, card, commit.files)
    told: dict[str, Any] = {"_id": commit.sha[:24], "id": repo.id, "author": repo.owner}
    told |= {"sha": commit.sha, "lastModified": commit.date, "createdAt": repo.created}
    told |= {"private": repo.private, "gated": gated, "disabled": False}
    told |= {"downloads": repo.downloads}
    told |= {"tags": tags, "siblings": siblings, "cardData": card or None}
    told |= {"usedStorage": sum(entry["size"] for entry in entries)}
    if repo.kind == "models":
        told |= {"modelId": repo.id, "pipeline_tag": card.get("pipeline_tag")}
        told |= {"library_name": hub_cards.library_name(card, commit.files), "config": _config(commit)}
    kept = {"_id", "id", *query.get("expand", told)}
    return {key: value for key, value in told.items() if key in kept}


def _config(commit: Commit) -> dict[str, Any]:
    try:
        config = json.loads(commit.files.get("config.json", b"{}"))
    except ValueError:
        return {}
    kept = ("architectures", "model_type")
    return {key: config[key] for key in kept if key in config} if isinstance(config, dict) else {}


def listing(
    repos: Iterable[tuple[Repo, str | bool]], query: Query, url: str, page: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return one page of the repositories that match, and the header that leads to the next."""
    found = [told for repo, gated in repos if _matches(told := info(repo, repo.at("main"), gated, {}), query)]
    if sort := query.get("sort"):
        if sort[0] not in _SORTED:
            raise RefusalError(400, "", f'"sort" must be one of [{", ".join(_SORTED)}]')
        found.sort(key=lambda told: told[sort[0]], reverse=True)
    first = int(base64.urlsafe_b64decode(query["cursor"][0])) if "cursor" in query else 0
    size = min(page, int(query["limit"][0])) if "limit" in query else page
    headers = {}
    if first + size < len(found):
        cursor = base64.urlsafe_b64encode(str(first + size).encode()).decode()
        following = urlencode({**query, "cursor": [cursor]}, doseq=True)
        headers["Link"] = f'<{url}?{following}>; rel="next"'
    kept = {"_id", "id", *query.get("expand", [])}
    return [{key: one[key] for key in one if key in kept} for one in found[first : first + size]], headers


def _matches(told: Mapping[str, Any], query: Query) -> bool:
    wanted = {tag for value in query.get("filter", []) for tag in value.split(",")}
    return (
        wanted <= {*told["tags"]}
        and told["author"] in query.get("author", [told["author"]])
        and all(word.lower() in told["id"].lower() for word in query.get("search", []))
    )


def refs(repo: Repo) -> dict[str, Any]:
    """List branches and pull requests."""
    answer: dict[str, Any] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    kinds = {"refs/heads/": "branches", "refs/pr/": "pullRequests"}
    for ref, sha in repo.refs.items():
        prefix = next(prefix for prefix in kinds if ref.startswith(prefix))
        name = ref.removeprefix(prefix)
        answer[kinds[prefix]].append({"name": name, "ref": ref, "targetCommit": sha})
    return answer


def tree(commit: Commit, folder: list[str], query: Query) -> list[dict[str, Any]]:
    """List what lies in a folder, or below it."""
    deep, prefix = "true" in values(query.get("recursive")), "".join(f"{part}/" for part in folder)
    entries = commit.entries("true" in values(query.get("expand")))
    within = {path: entry for path, entry in entries.items() if path.startswith(prefix)}
    if prefix and not within:
        raise RefusalError(404, "EntryNotFound", "No such folder at this revision")
    return [entry for path, entry in within.items() if deep or "/" not in path.removeprefix(prefix)]


def paths(commit: Commit, form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the paths asked for; one that is not there is left out."""
    wanted = {path.strip("/") for path in values(form.get("paths"))}
    entries = commit.entries("true" in values(form.get("expand")))
    return [entry for path, entry in entries.items() if path in wanted]
