"""A network camera: JPEG pictures as one endless HTTP answer.

    python mjpeg.py PORT FOLDER

FOLDER/now says what is shown: "NAME FPS", pictures FOLDER/NAME/*.jpg round and round. It is read again before
every picture. Standard library only, so that it starts in the time of a camera that was plugged in again.
"""

import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

BOUNDARY = "picture"


class Camera(BaseHTTPRequestHandler):
    """Answers every GET with the stream."""

    folder = Path()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        number = 0
        try:
            while True:
                name, _, fps = (self.folder / "now").read_text().partition(" ")
                pictures = sorted((self.folder / name).glob("*.jpg"))
                content = pictures[number % len(pictures)].read_bytes()
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content + b"\r\n")
                number += 1
                time.sleep(1.0 / float(fps))
        except OSError:
            return  # whoever looked has gone

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class Server(socketserver.ThreadingTCPServer):
    """Takes its port over from one that was killed."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Camera.folder = Path(sys.argv[2])
    with Server(("127.0.0.1", int(sys.argv[1])), Camera) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
