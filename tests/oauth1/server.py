"""An OAuth 1.0a server on a free port of loopback; prints its URL. All that counts is oauthlib's: it checks every signature, nonce
and verifier. Here are only the pages, the memory, and an API that answers nobody but who holds a token.

    POST /request_token, GET or POST /access_token, GET /authorize    as RFC 5849 has them
    GET  /api/me, POST /api/form                                      an API; the second wants a form
    GET  /unconfirmed/request_token, /silent/request_token            with `oauth_callback_confirmed=false`, and without it
    GET  /stats                                                       what was given and refused

RSA_PUBLIC_KEY (PEM): whom RSA-SHA1 is verified with; without, that method is refused.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from oauthlib.oauth1 import RequestValidator, WebApplicationServer

CLIENTS = {"consumer-7d1e": "consumer-secret-a94f&%"}


class Memory(RequestValidator):
    """One user, `ann`."""

    allowed_signature_methods = ["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT", "RSA-SHA1"]
    enforce_ssl = False
    realms = ["all"]
    dummy_client = "dummy"
    dummy_request_token = "dummy"
    dummy_access_token = "dummy"
    timestamp_lifetime = 600
    client_key_length = request_token_length = access_token_length = nonce_length = verifier_length = (4, 200)
    safe_characters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") | set("-_.")

    def __init__(self):
        super().__init__()
        self.lock = Lock()
        self.requested, self.given, self.nonces = {}, {}, set()
        self.stats = {"request_token": 0, "access_token": 0, "api": 0, "refused": 0, "methods": [], "secrets": []}

    def get_client_secret(self, client_key, request):
        return CLIENTS.get(client_key, "none")

    def get_rsa_key(self, client_key, request):
        return os.environ["RSA_PUBLIC_KEY"]

    def validate_client_key(self, client_key, request):
        return client_key in CLIENTS

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, request_token=None, access_token=None):
        once = (client_key, timestamp, nonce, request_token, access_token)
        with self.lock:
            is_new = once not in self.nonces
            self.nonces.add(once)
        return is_new

    def validate_redirect_uri(self, client_key, redirect_uri, request):
        return urlsplit(redirect_uri).path == "/oauth/callback"

    def validate_requested_realms(self, client_key, realms, request):
        return True

    def get_default_realms(self, client_key, request):
        return ["all"]

    def save_request_token(self, token, request):
        self.stats["methods"].append(request.signature_method)
        self.stats["secrets"].append(token["oauth_token_secret"])
        self.requested[token["oauth_token"]] = {
            "secret": token["oauth_token_secret"], "client": request.client_key, "callback": request.redirect_uri,
        }

    def verify_request_token(self, token, request):
        return token in self.requested

    def get_redirect_uri(self, token, request):
        return self.requested[token]["callback"]

    def save_verifier(self, token, verifier, request):
        self.requested[token]["verifier"] = verifier["oauth_verifier"]

    def validate_request_token(self, client_key, token, request):
        return self.requested.get(token, {}).get("client") == client_key

    def get_request_token_secret(self, client_key, token, request):
        return self.requested.get(token, {}).get("secret", "none")

    def validate_verifier(self, client_key, token, verifier, request):
        return self.requested.get(token, {}).get("verifier") == verifier

    def get_realms(self, token, request):
        return ["all"]

    def invalidate_request_token(self, client_key, request_token, request):
        self.requested.pop(request_token, None)

    def save_access_token(self, token, request):
        self.given[token["oauth_token"]] = {"secret": token["oauth_token_secret"], "client": request.client_key}

    def validate_access_token(self, client_key, token, request):
        return self.given.get(token, {}).get("client") == client_key

    def get_access_token_secret(self, client_key, token, request):
        return self.given.get(token, {}).get("secret", "none")

    def validate_realms(self, client_key, token, request, uri=None, realms=None):
        return True


memory = Memory()
endpoint = WebApplicationServer(memory)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def serve(self, method):
        address = urlsplit(self.path)
        url = f"http://{self.headers['host']}{self.path}"
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        headers = dict(self.headers)
        way = address.path.split("/")[-1]
        if address.path == "/stats":
            self.answer(200, json.dumps(memory.stats), "application/json")
        elif way == "request_token":
            given, text, status = endpoint.create_request_token_response(url, method, body, headers)
            self.token(way, status, self.confirmed(address.path, text))
        elif way == "access_token":
            extra = {"user_id": "7", "screen_name": "ann"}
            given, text, status = endpoint.create_access_token_response(url, method, body, headers, extra)
            self.token(way, status, text)
        elif address.path == "/authorize" and method == "GET":
            token = parse_qs(address.query).get("oauth_token", [""])[0]
            page = f'<form method="post" action="/authorize?{urlencode({"oauth_token": token})}"><button name="answer" value="yes">Allow</button><button name="answer" value="no">Deny</button></form>'
            self.answer(200 if token in memory.requested else 404, page, "text/html")
        elif address.path == "/authorize":
            token = parse_qs(address.query)["oauth_token"][0]
            if ("answer", "yes") in parse_qsl(body):
                given, text, status = endpoint.create_authorization_response(url, "POST", "", {})
                self.answer(status, text or "", "text/plain", given)
            else:
                # As X says it.
                callback = memory.requested.pop(token)["callback"]
                self.answer(302, "", "text/plain", {"Location": f"{callback}&denied={token}"})
        elif address.path.startswith("/api/"):
            is_valid, request = endpoint.validate_protected_resource_request(url, method, body, headers, [])
            memory.stats["api" if is_valid else "refused"] += 1
            found = {"id": 7, "name": "ann", "form": dict(parse_qsl(body)), "query": dict(parse_qsl(address.query))}
            self.answer(200 if is_valid else 401, json.dumps(found if is_valid else {"error": "signature"}), "application/json")
        else:
            self.answer(404, "{}", "application/json")

    def confirmed(self, path, text):
        if path.startswith("/unconfirmed"):
            return text.replace("oauth_callback_confirmed=true", "oauth_callback_confirmed=false")
        if path.startswith("/silent"):
            return "&".join(pair for pair in text.split("&") if not pair.startswith("oauth_callback_confirmed"))
        return text

    def token(self, way, status, text):
        memory.stats[way if status == 200 else "refused"] += 1
        # Many providers call it a page.
        self.answer(status, text or "", "text/html;charset=utf-8")

    def answer(self, status, text, kind, more=None):
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
