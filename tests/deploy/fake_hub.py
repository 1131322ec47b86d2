"""A model hub on localhost, as far as tools/fetch-model uses one, with faults to order."""

import hashlib
import http.server
import json
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves `files` as the repository org/tiny, and as the folder /plain/."""

    def __init__(self, files):
        self.files = dict(files)
        self.listed = dict(files)  # what hashes are told of
        self.cut_after = None      # bytes after which a file's connection breaks
        self.ranges = True
        self.token = None          # needed if set
        self.requests = []         # (path, Range, Authorization)
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def fetched(self):
        """Names of the files asked for, in order."""
        return [path.rsplit("/", 1)[1] for path, _, _ in self.requests if "/store/" in path]

    def answer(self, handler):
        path = handler.path
        authorization = handler.headers.get("Authorization")
        self.requests.append((path, handler.headers.get("Range"), authorization))
        guarded = path.startswith(("/api/", "/org/"))
        if self.token and guarded and authorization != f"Bearer {self.token}":
            handler.send_error(401)
        elif path == "/api/models/org/tiny/revision/main":
            self._send(handler, json.dumps({"sha": COMMIT}).encode())
        elif path == f"/api/models/org/tiny/tree/{COMMIT}":
            self._send(handler, json.dumps(self._tree()).encode())
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            handler.send_response(302)
            # Another host, as the hub's storage is.
            store = self.url.replace("127.0.0.1", "localhost")
            handler.send_header("Location", f"{store}/store/{path.rsplit('/', 1)[1]}")
            handler.end_headers()
        elif path == "/plain/SHA256SUMS":
            self._send(handler, sums(self.listed).encode())
        elif path.startswith(("/store/", "/plain/")) and path.rsplit("/", 1)[1] in self.files:
            self._send_file(handler, self.files[path.rsplit("/", 1)[1]])
        else:
            handler.send_error(404)

    def _tree(self):
        entries = [{"type": "directory", "path": "onnx", "oid": "0", "size": 0}]
        for name, content in self.listed.items():
            entry = {"type": "file", "path": name, "size": len(content),
                     "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry)
        return entries

    @staticmethod
    def _send(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _send_file(self, handler, content):
        asked = handler.headers.get("Range")
        first = int(asked[len("bytes="):-1]) if asked and self.ranges else 0
        if first >= len(content) > 0 and first > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(content) - first))
        handler.end_headers()
        end = None if self.cut_after is None else first + self.cut_after
        handler.wfile.write(content[first:end])  # the connection closes: HTTP/1.0


def sums(files):
    return "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in files.items())
