"""Images without a Docker engine: OCI archives, built by image.sh.

python -m tests.real.node.image FOLDER IMAGE
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.real.node.tools import CACHE, Tools, ToolsMissing, get_tools

_SCRIPT = Path(__file__).with_name("image.sh")
# Mounts of its own: whatever buildah mounts is gone with it, however it ends.
_ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_LAY = """
mount -t tmpfs tmpfs /run
[ -z "$1" ] || mount -t overlay -o "lowerdir=/usr:$1" overlay /usr
shift
exec "$@"
"""


class ImageNotBuilt(RuntimeError):
    """The Dockerfile's image could not be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """OCI archives."""

    taskloom: Path
    pause: Path


def build_images(image: str, *, tools: Tools, folder: Path = CACHE / "image") -> Images:
    """Build the Dockerfile's image under the name of `image`, and the pause of every pod.

    Raises `ImageNotBuilt` with what was said.
    """
    if os.geteuid() != 0:
        raise ImageNotBuilt("Without a Docker engine an image is built as root only.")
    script = ("bash", str(_SCRIPT), str(folder), image)
    command = [*_ALONE, "sh", "-ec", _LAY, "sh", str(tools.besides or ""), *script]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise ImageNotBuilt(done.stderr.strip())
    return Images(taskloom=folder / "taskloom.tar", pause=folder / "pause.tar")


if __name__ == "__main__":
    try:
        built = build_images(sys.argv[2], tools=get_tools(), folder=Path(sys.argv[1]))
    except (ImageNotBuilt, ToolsMissing) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{built.taskloom}\n")
