"""Stands in for optimum-cli: writes a model into the folder that it is given, or does what FAKE_EXPORT says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

record, model = Path(os.environ["FAKE_RECORD"]), Path(os.environ["FAKE_MODEL"])
out = Path(sys.argv[-1])
told = {
    "argv": sys.argv[1:],
    "scratch": os.environ["TMPDIR"],
    "offline": os.environ["HF_HUB_OFFLINE"],
    "pid": os.getpid(),
}
with record.open("a") as file:
    file.write(json.dumps(told) + "\n")
(Path(os.environ["TMPDIR"]) / "half.bin").write_bytes(b"half")
shutil.copytree(model, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pbtxt", "adapters"))
match os.environ.get("FAKE_EXPORT", ""):
    case "fail":
        (out / "unet" / "openvino_model.bin").unlink()
        sys.exit("ValueError: the weights are upside down")
    case "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    case "incomplete":
        (out / "unet" / "openvino_model.bin").unlink()
    case "hang":
        print("half done", flush=True)
        threading.Event().wait()
