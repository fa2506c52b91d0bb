"""Meterhall as the purse of a LiteLLM proxy: authorise before each call, capture after it, void when it fails.

Two names belong in the proxy's configuration (see config.example.yaml):

    general_settings.custom_auth: meterhall_litellm.user_api_key_auth
    litellm_settings.callbacks:   meterhall_litellm.meterhall

What is promised:
- No call reaches a provider without an authorization; when Meterhall cannot be asked, the answer is 503.
- One call of the customer is one authorization, whatever the router retries or falls back to; it ends in one
  capture or one void. The capture is on disk before the last byte of the answer leaves the proxy.
- Routes that are not metered are closed to customers' keys.
- A key is held in memory for the length of its request and is never written anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from pydantic import PrivateAttr

# LiteLLM loads this file by its path, so the file beside it has to be made importable.
sys.path.append(str(Path(__file__).resolve().parent))

from meterhall_outbox import outbox
from meterhall_usage import StreamUsage, estimate, text_of, usage_of

logger = logging.getLogger("meterhall")

KEY = re.compile(r"sk-(pg|ss)-v1-[A-Za-z0-9_-]{16,200}")
METERED_ROUTES = frozenset(
    prefix + route
    for prefix in ("", "/v1")
    for route in (
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/messages",
        "/responses",
        "/images/generations",
        "/rerank",
    )
)
FREE_ROUTES = frozenset({"/models", "/v1/models"})
# What a customer may not choose: another model, key or router behind the call that was authorised.
NOT_FROM_CUSTOMERS = (
    "api_key",
    "user_config",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "router_settings_override",
    "model_list",
    "num_retries",
    "max_retries",
)
FINGERPRINTED = ("messages", "prompt", "input", "instructions", "system", "tools", "query", "documents", "n", "size")
# How long after the end of a stream LiteLLM may take to count what a broken stream has used.
SETTLE_WITHIN_S = 30.0


class Refused(ProxyException):
    """A refusal in the shape that OpenAI clients read, with all members of Meterhall's problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.problem = dict(problem)
        message = str(problem.get("detail") or problem.get("title") or "The call was refused.")
        # Some routes keep only the message of an error, so the code and the trace id are headers too.
        told = {
            f"x-meterhall-{name.replace('_', '-')}": str(problem[name])
            for name in ("code", "trace_id")
            if problem.get(name)
        }
        super().__init__(
            message=message, type="billing_error", param=None, code=status, headers={**told, **(headers or {})}
        )

    def to_dict(self) -> dict[str, Any]:
        return {**self.problem, "message": self.message, "type": self.type, "param": None}


def invalid_credential() -> Refused:
    return Refused(401, {"code": "invalid_credential", "title": "The API key is not valid.", "status": 401})


def not_metered(why: str) -> Refused:
    return Refused(403, {"code": "route_not_metered", "title": why, "status": 403})


def unavailable() -> Refused:
    why = "The call could not be authorised right now. Nothing was charged; please try again."
    return Refused(503, {"code": "billing_unavailable", "title": why, "status": 503}, {"Retry-After": "2"})


def required(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise RuntimeError(f"{name} is not set: the Meterhall integration cannot work without it.")
    return value


class Call:
    """One authorised call. It is settled once; whoever comes later finds that nothing is left to do."""

    __slots__ = ("authorization", "model", "settled", "started", "trace_id")

    def __init__(self, authorization: str, model: str, trace_id: str) -> None:
        self.authorization = authorization
        self.model = model
        self.trace_id = trace_id
        self.started = time.monotonic()
        self.settled = False


class Passport:
    """Carries the caller's key to the first hook and the authorised call to the later ones.

    It is a Python object inside LiteLLM's own identity object, so no request body can forge it.
    """

    __slots__ = ("call", "secret")

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.call: Call | None = None

    def __repr__(self) -> str:
        return "<Passport>"

    def __copy__(self) -> Passport:
        return self

    def __deepcopy__(self, memo: object) -> Passport:
        return self


class Caller(UserAPIKeyAuth):
    """LiteLLM's identity object; `api_key` in it is a hash."""

    _passport: Passport | None = PrivateAttr(default=None)


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Let keys of Meterhall's shape in, on metered routes only. Whether a key is good, the authorization tells.

    The proxy's master key may look after the proxy; it has no purse, so calls with it are refused.
    """
    from litellm.proxy.proxy_server import master_key

    if master_key and api_key and hmac.compare_digest(api_key.encode(), master_key.encode()):
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    if not KEY.fullmatch(api_key or ""):
        raise invalid_credential()
    route = request.url.path.removeprefix(request.scope.get("root_path", "").rstrip("/")).rstrip("/")
    metered = request.method == "POST" and route in METERED_ROUTES
    if not metered and not (request.method == "GET" and route in FREE_ROUTES):
        raise not_metered("This route is not metered, and therefore not open to customers' keys.")
    caller = Caller(api_key=api_key, user_role=LitellmUserRoles.INTERNAL_USER_VIEW_ONLY, request_route=route)
    caller._passport = Passport(api_key)
    return caller


def call_of(identity: object) -> Call | None:
    passport = getattr(identity, "_passport", None)
    return passport.call if passport is not None else None


class Meterhall(CustomLogger):
    """The hooks. Money is decided in Meterhall; here is only who must be told what, and when."""

    def __init__(self) -> None:
        super().__init__()
        self._url = required("METERHALL_URL").rstrip("/")
        self._token = required("METERHALL_GATEWAY_TOKEN")
        self._timeout_s = float(os.environ.get("METERHALL_TIMEOUT_S", "3"))
        spool_dir = os.environ.get("METERHALL_SPOOL_DIR", "meterhall-spool")
        self._fields = tuple(filter(None, re.split(r"[,\s]+", os.environ.get("METERHALL_FIELDS", "").lower())))
        self._outbox = outbox(self._url, self._token, spool_dir, self._timeout_s)
        self._client: httpx.AsyncClient | None = None
        self._slugs: dict[str, tuple[float, str]] = {}

    # -- before the call ------------------------------------------------------------------------------

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: object, data: dict[str, Any], call_type: str
    ) -> None:
        """Authorise, or raise the refusal that the caller shall see."""
        passport: Passport | None = getattr(user_api_key_dict, "_passport", None)
        if passport is None:
            raise invalid_credential()
        if data.get("background"):
            raise not_metered("Background responses are not metered here, and therefore not offered.")
        if passport.call is not None:  # LiteLLM starts over, for instance with a fallback after its own rate limit
            self._void(passport.call, "superseded")
            passport.call = None
        for name in NOT_FROM_CUSTOMERS:
            data.pop(name, None)
        options = data.get("stream_options")
        if data.get("stream") and isinstance(options, dict) and options.get("include_usage") is False:
            data["stream_options"] = {**options, "include_usage": True}  # without it tokens would be guessed
        passport.call = await self._authorise(passport.secret, data)

    async def _authorise(self, secret: str, data: dict[str, Any]) -> Call:
        headers = (data.get("proxy_server_request") or {}).get("headers") or {}
        model = self._slug(str(data.get("model") or ""))
        body = {
            # Ours, not the caller's: with a chosen id one authorization could be made to serve many calls.
            "request_id": f"litellm-{uuid.uuid4()}",
            "api_key": secret,
            "model": model,
            "estimate": estimate(data),
            "fields": dict(self._field_values(headers, data)),
            "fingerprint": fingerprint(secret, model, data),
        }
        trace = re.fullmatch(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", headers.get("traceparent", ""))
        if trace:
            body["trace_id"] = trace[1]
        language = headers.get("accept-language")
        response = await self._post("/api/v1/authorizations", body, {"Accept-Language": language} if language else {})
        answer = document(response)
        if response.is_success and answer.get("id"):
            return Call(str(answer["id"]), model, str(answer.get("trace_id", "")))
        if response.is_success or response.status_code >= 500:
            logger.warning("Meterhall answered %s to an authorization; the call is refused.", response.status_code)
            raise unavailable()
        kept = {name: value for name in ("Retry-After",) if (value := response.headers.get(name))}
        raise Refused(response.status_code, answer, kept)

    async def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        """Ask twice when the line breaks: the request id makes the second question the same as the first."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s, limits=httpx.Limits(max_connections=200, max_keepalive_connections=50)
            )
        headers = {**headers, "Authorization": f"Bearer {self._token}"}
        for attempt in (1, 2):
            try:
                return await self._client.post(self._url + path, json=body, headers=headers)
            except (httpx.HTTPError, UnicodeError) as error:
                if attempt == 2 or isinstance(error, httpx.TimeoutException):
                    logger.warning("Meterhall cannot be reached (%s); the call is refused.", type(error).__name__)
                    raise unavailable() from None
        raise unavailable()

    def _slug(self, model: str) -> str:
        """The model's name at Meterhall: `model_info.meterhall_model` of the proxy's model list, or the same."""
        known = self._slugs.get(model)
        if known and known[0] > time.monotonic():
            return known[1]
        from litellm.proxy.proxy_server import llm_router

        deployments = (llm_router.get_model_list(model_name=model) if llm_router else None) or []
        named = (deployment.get("model_info", {}).get("meterhall_model") for deployment in deployments)
        slug = next((name for name in named if name), model)
        if len(self._slugs) > 10_000:
            self._slugs.clear()
        self._slugs[model] = (time.monotonic() + 30, slug)
        return slug

    def _field_values(self, headers: Mapping[str, str], data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The headers and body fields that may change a price, as the operator has listed them."""
        for field in self._fields:
            value = headers.get(field.removeprefix("header:")) if field.startswith("header:") else data.get(field)
            if isinstance(value, bool):
                yield field, str(value).lower()
            elif isinstance(value, str | int | float):
                yield field, str(value)[:200]

    # -- after the call -------------------------------------------------------------------------------

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: UserAPIKeyAuth, response: Any
    ) -> None:
        """A whole answer: its capture is spooled before the caller gets it."""
        call = call_of(user_api_key_dict)
        if call is None or call.settled:
            return
        if from_cache(response, data):
            self._void(call, "served_from_cache")
        else:
            usage = usage_of(response, data) or await asyncio.to_thread(counted, response, data)
            self._capture(call, usage)

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """A stream: its capture is spooled before the last event leaves.

        When the client goes away, or the provider sends no usage, LiteLLM counts what has flowed and reports it
        to `async_log_success_event` a moment later. When the provider breaks off, the failure hook voids.
        """
        call = call_of(user_api_key_dict)
        usage, delivered, broken = StreamUsage(request_data), False, False
        try:
            async for chunk in response:
                usage.feed(chunk)
                delivered = True
                yield chunk
        except Exception:
            broken = True
            raise
        finally:
            if call is not None and not call.settled and not broken:
                if from_cache(response, request_data):
                    self._void(call, "served_from_cache")
                elif usage.told is not None:
                    self._capture(call, usage.told)
                else:
                    self._settle_later(call, delivered=delivered)

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: object, end_time: object
    ) -> None:
        """LiteLLM's own count of a successful call: the only one there is for an interrupted stream.

        It comes from a queue that may drop, and sometimes twice, so it is second to the hooks above.
        """
        call = self._call_of_event(kwargs)
        if call is None or call.settled:
            return
        if kwargs.get("cache_hit") is True:
            self._void(call, "served_from_cache")
        elif (usage := usage_of(response_obj, kwargs)) is not None:
            self._capture(call, usage)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,
        traceback_str: str | None = None,
    ) -> None:
        """The call has failed for good, after all retries and fallbacks."""
        call = call_of(user_api_key_dict)
        if call is not None:
            self._void(call, "upstream_error")

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: UserAPIKeyAuth, response: Any, **_: Any
    ) -> dict[str, str] | None:
        """Tell the caller the trace id, which is what support asks for (F110)."""
        call = call_of(user_api_key_dict)
        return {"x-meterhall-trace-id": call.trace_id} if call is not None and call.trace_id else None

    # -- one end for each call ------------------------------------------------------------------------

    def _capture(self, call: Call, usage: dict[str, Any]) -> None:
        if call.settled:
            return
        call.settled = True
        latency_ms = round((time.monotonic() - call.started) * 1000)
        body = {**usage, "upstream_status": 200, "latency_ms": latency_ms}
        self._outbox.put(f"/api/v1/authorizations/{call.authorization}/capture", body)

    def _void(self, call: Call, reason: str) -> None:
        if call.settled:
            return
        call.settled = True
        self._outbox.put(f"/api/v1/authorizations/{call.authorization}/void", {"reason": reason})

    def _settle_later(self, call: Call, *, delivered: bool) -> None:
        with contextlib.suppress(RuntimeError):  # the proxy is stopping; Meterhall lets the hold expire
            asyncio.get_running_loop().call_later(SETTLE_WITHIN_S, self._give_up, call, delivered)

    def _give_up(self, call: Call, delivered: bool) -> None:
        if call.settled:
            return
        if not delivered:
            self._void(call, "client_disconnected")
            return
        logger.error("No usage was reported for authorization %s (%s): the hold will expire.",
                     call.authorization, call.model)  # fmt: skip

    @staticmethod
    def _call_of_event(kwargs: dict[str, Any]) -> Call | None:
        params = kwargs.get("litellm_params") or {}
        for name in ("metadata", "litellm_metadata"):
            call = call_of((params.get(name) or {}).get("user_api_key_auth"))
            if call is not None:
                return call
        return None


def from_cache(response: Any, data: Mapping[str, Any]) -> bool:
    """Whether LiteLLM has answered without asking a provider; a stream says so in its log only."""
    hidden = getattr(response, "_hidden_params", None) or {}
    details = getattr(data.get("litellm_logging_obj"), "model_call_details", None) or {}
    return hidden.get("cache_hit") is True or details.get("cache_hit") is True


def counted(response: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Count what a provider has not told: nothing is served for nothing. Slow, so not for the event loop."""
    import litellm

    tokens = estimate(data)["input_tokens"]
    with contextlib.suppress(Exception):  # a message shape that the tokenizer does not know: the estimate stands
        if data.get("messages"):
            tokens = litellm.token_counter(model="", messages=data["messages"])
    answer = text_of(response)
    output = litellm.token_counter(model="", text=answer) if answer else 0
    return {"usage": {"input_tokens": tokens, "output_tokens": output}}


def fingerprint(secret: str, model: str, data: Mapping[str, Any]) -> str:
    """The same for the same question of the same key, and of no use to anyone who would guess the question."""
    question = {name: data[name] for name in FINGERPRINTED if name in data}
    text = json.dumps([model, question], sort_keys=True, default=str)
    key = hashlib.sha256(secret.encode()).digest()
    return hashlib.blake2b(text.encode(errors="surrogatepass"), key=key, digest_size=16).hexdigest()


def document(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


meterhall = Meterhall()
