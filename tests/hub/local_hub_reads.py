"""What the test Hub tells of its repositories: information, lists, files, references, commits."""

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
_BRIEF = (
    "_id",
    "id",
    "likes",
    "trendingScore",
    "private",
    "downloads",
    "tags",
    "pipeline_tag",
    "library_name",
    "createdAt",
    "modelId",
)
_FULL = ("author", "sha", "lastModified", "gated", "disabled", "siblings")
_SORTED = ("trendingScore", "downloads", "likes", "createdAt", "lastModified")


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
    told |= {"downloads": repo.downloads, "likes": repo.likes, "trendingScore": repo.likes}
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
    kept = {"_id", "id", *query["expand"]} if "expand" in query else {*_BRIEF}
    for switch, keys in (("full", _FULL), ("cardData", ("cardData",)), ("config", ("config",))):
        kept |= {*keys} if "true" in values(query.get(switch)) else set()
    return [{key: one[key] for key in one if key in kept} for one in found[first : first + size]], headers


def _matches(told: Mapping[str, Any], query: Query) -> bool:
    wanted = {tag for value in query.get("filter", []) for tag in value.split(",")}
    return (
        wanted <= {*told["tags"]}
        and told["author"] in query.get("author", [told["author"]])
        and all(word.lower() in told["id"].lower() for word in query.get("search", []))
        and told.get("pipeline_tag") in query.get("pipeline_tag", [told.get("pipeline_tag")])
        and str(bool(told["gated"])).lower() in query.get("gated", [str(bool(told["gated"])).lower()])
    )


def refs(repo: Repo) -> dict[str, Any]:
    """List branches, tags and pull requests."""
    answer: dict[str, Any] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    kinds = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
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


def commits(repo: Repo, revision: str) -> list[dict[str, Any]]:
    """Tell the history of a revision, the newest first."""
    return [
        {
            "id": commit.sha,
            "title": commit.title,
            "message": commit.message,
            "date": commit.date,
            "authors": [{"user": commit.author}],
        }
        for commit in repo.history(revision)
    ]


def pull_request(repo: Repo, number: str) -> dict[str, Any]:
    """Describe a pull request with the commits that it would bring."""
    pull = next((pull for pull in repo.pulls if str(pull["num"]) == number), None)
    if pull is None:
        raise RefusalError(404, "", "Discussion not found")
    known = {commit.sha for commit in repo.history("main")}
    brought = [commit for commit in repo.history(f"refs/pr/{number}") if commit.sha not in known]
    events = [
        {
            "id": commit.sha,
            "type": "commit",
            "createdAt": commit.date,
            "author": {"name": commit.author},
            "data": {"subject": commit.title, "oid": commit.sha},
        }
        for commit in brought
    ]
    about = _pull(repo, pull)
    return about | {"changes": {"base": "main"}, "filesWithConflicts": [], "events": events, "diff": ""}


def pull_requests(repo: Repo) -> dict[str, Any]:
    """List the pull requests, the newest first."""
    return {
        "discussions": [_pull(repo, pull) for pull in reversed(repo.pulls)],
        "count": len(repo.pulls),
        "start": 0,
    }


def _pull(repo: Repo, pull: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **pull,
        "author": {"name": pull["author"]},
        "status": "open",
        "isPullRequest": True,
        "repo": {"name": repo.id, "type": repo.kind[:-1]},
    }
